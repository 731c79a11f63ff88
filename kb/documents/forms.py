"""Forms of the library: where to put files, how to filter a list, which place of a document to show."""

from typing import Any

from django import forms
from django.db.models import Case, Model, QuerySet, Value, When

from kb.core.models import Collection, Reader
from kb.core.problems import Problem
from kb.documents.adding import checked_tags
from kb.documents.models import Document, Upload

BIGGEST_OFFSET = 2**31 - 1


class CollectionField(forms.ModelChoiceField[Collection]):
    """A collection by its slug; one of somebody else says whose it is and who will read it."""

    def __init__(self, user: Reader, collections: QuerySet[Collection]) -> None:
        super().__init__(
            collections,
            to_field_name="slug",
            # What is chosen for people is where their files land unnoticed: only the sole one is.
            empty_label="Choose a collection…" if len(collections) > 1 else None,
            error_messages={
                "required": "Choose the collection that the files go into.",
                "invalid_choice": "There is no such collection, or you may not add to it.",
            },
        )
        self.user = user

    def label_from_instance(self, obj: Model) -> str:
        if not isinstance(obj, Collection) or obj.owner_id == self.user.pk:
            return str(obj)
        return f"{obj} (owner: {obj.owner}; readers: {obj.get_visibility_display().lower()})"


class TagsField(forms.CharField):
    """Tags with commas between them."""

    def __init__(self) -> None:
        tags = forms.TextInput(attrs={"autocapitalize": "none", "placeholder": "such as finance, draft"})
        super().__init__(label="Tags", max_length=3000, required=False, widget=tags)

    def clean(self, value: Any) -> list[str]:
        """The tags as they are stored."""
        try:
            return checked_tags(str(super().clean(value)).split(","))
        except Problem as problem:
            raise forms.ValidationError(problem.message) from problem


class TagsForm(forms.Form):
    """The tags of one document."""

    tags = TagsField()


class UploadForm(forms.Form):
    """The collection that files go into, the upload that they are part of, and their tags.

    The files themselves are read by the view, one by one.
    """

    upload = forms.UUIDField(required=False, widget=forms.HiddenInput)
    tags = TagsField()

    def __init__(self, user: Reader, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        own_first = Case(When(owner=user.pk, then=Value(0)), default=Value(1))
        editable = Collection.objects.editable_by(user).select_related("owner")
        self.collections = editable.order_by(own_first, "name", "pk")
        self.fields["collection"] = CollectionField(user, self.collections)
        self.user = user

    def clean(self) -> dict[str, Any]:
        """`upload` becomes the person's own upload into that collection."""
        cleaned = self.cleaned_data
        if pk := cleaned.get("upload"):
            own = Upload.objects.filter(created_by=self.user.pk, collection=cleaned.get("collection"))
            cleaned["upload"] = own.filter(pk=pk).first()
            if cleaned["upload"] is None:
                raise forms.ValidationError("There is no such upload: load this page anew.")
        return cleaned

    def said(self) -> str:
        """What is wrong, in one line."""
        return " ".join(str(said) for found in self.errors.values() for said in found)


class MoveForm(forms.Form):
    """The other collection that a document is to be in."""

    def __init__(self, user: Reader, document: Document, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        others = Collection.objects.editable_by(user).exclude(pk=document.collection_id)
        field = CollectionField(user, others.select_related("owner").order_by("name", "pk"))
        field.error_messages["required"] = "Choose the collection that the document is to be in."
        self.fields["collection"] = field


class FilterForm(forms.Form):
    """What to show of a collection."""

    q = forms.CharField(
        label="Name", max_length=200, required=False, widget=forms.TextInput(attrs={"type": "search"})
    )
    state = forms.ChoiceField(
        label="State",
        choices=[("", "every state"), ("work", "in work"), ("paused", "Paused"), *Document.State.choices],
        required=False,
    )
    cause = forms.SlugField(max_length=30, required=False, widget=forms.HiddenInput)


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
