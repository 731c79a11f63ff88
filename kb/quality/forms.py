"""What an administrator says with a step of a version's life, and to begin something new."""

from django import forms
from django.core.validators import validate_comma_separated_integer_list
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldAdminURLInputWidget,
    UnfoldBooleanSwitchWidget,
)

from kb.core.models import Collection
from kb.indexes.model_actions import NewModel
from kb.indexes.models import EmbeddingModel, Index, IndexVersion
from kb.indexes.version_actions import Wanted
from retrieval.rollout import STEPS


class ReasonForm(forms.Form):
    """Why; it stands in the audit log."""

    reason = forms.CharField(
        required=False, max_length=500, widget=UnfoldAdminTextInputWidget, help_text="for the audit log"
    )


class OverrideForm(forms.Form):
    reason = forms.CharField(
        max_length=500,
        widget=UnfoldAdminTextInputWidget,
        help_text="why the version may go on although its report failed",
    )


class ShareForm(ReasonForm):
    share = forms.FloatField(
        min_value=0.001,
        max_value=1,
        initial=0.1,
        widget=UnfoldAdminDecimalFieldWidget,
        help_text="of the queries that run on it as well, up to 1",
    )
    field_order = ("share", "reason")


class PercentForm(ReasonForm):
    percent = forms.TypedChoiceField(
        choices=[(step, f"{step} %") for step in STEPS],
        coerce=int,
        widget=UnfoldAdminSelectWidget,
        help_text="of the readers, who are served by it",
    )
    field_order = ("percent", "reason")


class BuildForm(ReasonForm):
    """What a new version is to be; what is left out is as in the live version."""

    model = forms.ModelChoiceField(
        EmbeddingModel.objects.order_by("name", "-pk"),
        required=False,
        empty_label="as in the live version",
        widget=UnfoldAdminSelectWidget,
    )
    dimensions = forms.IntegerField(
        required=False,
        min_value=1,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="the first so many, where the model was trained for that",
    )
    storage = forms.ChoiceField(
        required=False,
        choices=[("", "as in the live version"), *IndexVersion.Storage.choices],
        widget=UnfoldAdminSelectWidget,
    )
    chunk_tokens = forms.IntegerField(
        required=False,
        min_value=1,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="cuts all documents anew, into chunks of up to so many tokens",
    )
    hnsw_m = forms.IntegerField(
        label="HNSW m", required=False, widget=UnfoldAdminIntegerFieldWidget, help_text="links of a vector"
    )
    hnsw_ef_construction = forms.IntegerField(
        label="HNSW ef_construction", required=False, widget=UnfoldAdminIntegerFieldWidget
    )
    hnsw_ef_search = forms.IntegerField(
        label="HNSW ef_search", required=False, widget=UnfoldAdminIntegerFieldWidget
    )
    embed = forms.BooleanField(
        label="Embed everything",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="also what could be computed of stored vectors",
    )
    field_order = (
        "model", "dimensions", "storage", "chunk_tokens", "hnsw_m", "hnsw_ef_construction", "hnsw_ef_search", "embed",
    )  # fmt: skip

    def wanted(self) -> Wanted:
        said = self.cleaned_data
        numbers = ("dimensions", "chunk_tokens", "hnsw_m", "hnsw_ef_construction", "hnsw_ef_search")
        return Wanted(
            model=said["model"],
            storage=said["storage"] or None,
            derive=not said["embed"],
            **{name: said[name] for name in numbers},
        )


class IndexForm(forms.Form):
    slug = forms.CharField(
        label="Short name",
        max_length=50,
        widget=UnfoldAdminTextInputWidget,
        help_text="letters, digits and hyphens",
    )
    name = forms.CharField(required=False, max_length=100, widget=UnfoldAdminTextInputWidget)


class MoveForm(forms.Form):
    collection = forms.ModelChoiceField(Collection.objects.order_by("name"), widget=UnfoldAdminSelectWidget)
    index = forms.ModelChoiceField(Index.objects.order_by("name"), widget=UnfoldAdminSelectWidget)


class ModelForm(forms.Form):
    """What a person says of a model; the rest it says itself."""

    name = forms.CharField(
        max_length=200,
        widget=UnfoldAdminTextInputWidget,
        help_text="a directory, a name on the Hub, or what the endpoint calls it",
    )
    base_url = forms.URLField(
        label="Endpoint", required=False, assume_scheme="https", widget=UnfoldAdminURLInputWidget,
        help_text="of an OpenAI-compatible one, such as http://127.0.0.1:8080/v1",
    )  # fmt: skip
    revision = forms.CharField(required=False, max_length=100, widget=UnfoldAdminTextInputWidget)
    dimensions = forms.IntegerField(
        required=False,
        min_value=1,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="that the endpoint is asked for",
    )
    query_prompt = forms.CharField(
        required=False,
        strip=False,
        empty_value=None,
        widget=UnfoldAdminTextInputWidget,
        help_text="left empty: as the model's files say",
    )
    document_prompt = forms.CharField(
        required=False, strip=False, empty_value=None, widget=UnfoldAdminTextInputWidget
    )
    max_tokens = forms.IntegerField(
        required=False,
        min_value=1,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="that it reads, where it does not say so",
    )
    price_per_million_tokens = forms.DecimalField(
        required=False, min_value=0, max_digits=10, decimal_places=4, widget=UnfoldAdminDecimalFieldWidget
    )
    licence = forms.CharField(required=False, max_length=100, widget=UnfoldAdminTextInputWidget)
    matryoshka = forms.CharField(
        required=False,
        validators=[validate_comma_separated_integer_list],
        widget=UnfoldAdminTextInputWidget,
        help_text="how many of its first dimensions stand alone, such as 256,128",
    )
    training_set_sha256 = forms.CharField(
        label="Hash of its training set",
        required=False,
        max_length=64,
        widget=UnfoldAdminTextInputWidget,
        help_text="of a fine-tuned model",
    )

    def new(self) -> NewModel:
        said = dict(self.cleaned_data)
        numbers = said.pop("matryoshka").split(",")
        return NewModel(**said, matryoshka=tuple(int(number) for number in numbers if number))
