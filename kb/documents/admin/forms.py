"""The forms by which files are put in and replaced, and documents are tagged and moved, in the admin."""
# ruff: noqa: ARG002 (Django calls these methods with all their arguments)

from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile
from unfold.widgets import BASE_CLASSES, UnfoldAdminSelectWidget

from kb.core.models import Collection, User
from kb.documents.forms import TagsField
from kb.documents.models import Document


class FilesInput(forms.ClearableFileInput):
    """An input for several files."""

    allow_multiple_selected = True


class FilesField(forms.FileField):
    """Several files; what each is worth is said by the action that takes it."""

    def clean(self, data: Any, initial: Any = None) -> list["UploadedFile[Any]"]:
        files = data if isinstance(data, list | tuple) else [data] if data else []
        if not files:
            raise forms.ValidationError("Choose at least one file.", code="required")
        return list(files)


class UploadForm(forms.Form):
    """Files, and the collection that they go into."""

    collection = forms.ModelChoiceField(
        queryset=Collection.objects.none(), widget=UnfoldAdminSelectWidget, empty_label=None
    )
    uploads = FilesField(
        label="Files", widget=FilesInput(attrs={"multiple": True, "class": " ".join(BASE_CLASSES)})
    )

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = self.fields["collection"]
        choices.queryset = Collection.objects.editable_by(user)  # type: ignore[attr-defined]  # a ModelChoiceField


class TagsForm(forms.Form):
    """The tags of a document."""

    tags = TagsField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["tags"].widget.attrs["class"] = " ".join(BASE_CLASSES)


class MoveForm(forms.Form):
    """The other collection that a document is to be in."""

    collection = forms.ModelChoiceField(
        queryset=Collection.objects.none(), widget=UnfoldAdminSelectWidget, empty_label="Choose a collection…"
    )

    def __init__(self, user: User, document: Document, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        others = Collection.objects.editable_by(user).exclude(pk=document.collection_id)
        self.fields["collection"].queryset = others  # type: ignore[attr-defined]  # a ModelChoiceField


class ReplaceForm(forms.Form):
    """The file that replaces a document's."""

    file = forms.FileField(
        # What is empty or unknown is refused by the action, in the same words as everywhere.
        allow_empty_file=True,
        widget=forms.FileInput(attrs={"class": " ".join(BASE_CLASSES)}),
    )
