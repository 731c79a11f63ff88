"""Forms of the library: where to put files, how to filter a list, which place of a document to show."""

from typing import Any

from django import forms

from kb.core.models import Collection, Reader
from kb.documents.models import Document

BIGGEST_OFFSET = 2**31 - 1


class UploadForm(forms.Form):
    """The collection that files go into; the files themselves are read by the view, one by one."""

    def __init__(self, user: Reader, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.collections = Collection.objects.editable_by(user)
        self.fields["collection"] = forms.ModelChoiceField(
            queryset=self.collections,
            to_field_name="slug",
            empty_label=None,
            error_messages={"invalid_choice": "There is no such collection, or you may not add to it."},
        )


class FilterForm(forms.Form):
    """What to show of a collection."""

    q = forms.CharField(
        label="Name", max_length=200, required=False, widget=forms.TextInput(attrs={"type": "search"})
    )
    state = forms.ChoiceField(
        label="State",
        choices=[("", "every state"), ("work", "in work"), *Document.State.choices],
        required=False,
    )


class PlaceForm(forms.Form):
    """A place in a document: a span of a revision, a page, or one of the parts a long text is shown in."""

    revision = forms.IntegerField(min_value=1, max_value=BIGGEST_OFFSET, required=False)
    start = forms.IntegerField(min_value=0, max_value=BIGGEST_OFFSET, required=False)
    end = forms.IntegerField(min_value=0, max_value=BIGGEST_OFFSET, required=False)
    page = forms.IntegerField(min_value=1, max_value=BIGGEST_OFFSET, required=False)
    part = forms.IntegerField(min_value=1, max_value=BIGGEST_OFFSET, required=False)

    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        start, end = cleaned.get("start"), cleaned.get("end")
        if (start is None) != (end is None) or (start is not None and end is not None and start >= end):
            raise forms.ValidationError("A passage has a start and, behind it, an end.")
        return cleaned
