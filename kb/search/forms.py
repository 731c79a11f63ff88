"""The question and where to look for its answer; limits are the engine's, so that its messages are shown."""

from typing import Any

from django import forms

from kb.core.models import Collection, Reader


class PlaceForm(forms.Form):
    """Where a result of a search is."""

    document = forms.UUIDField()
    start = forms.IntegerField(min_value=0)
    end = forms.IntegerField(min_value=0)
    revision = forms.IntegerField(min_value=1, required=False)


class QuestionForm(forms.Form):
    """`q` and, repeated, `collection` (slugs); none chosen means all. `profile` names a retrieval profile;
    with `as_typed` no spelling is corrected.
    """

    q = forms.CharField(required=False, strip=False)
    profile = forms.CharField(required=False)
    as_typed = forms.BooleanField(required=False)

    def __init__(self, user: Reader, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Whatever is typed comes to the engine, which takes out what is no text, and says what is wrong.
        self.fields["q"].validators = self.fields["profile"].validators = []
        self.collections = Collection.objects.visible_to(user)
        self.fields["collection"] = forms.ModelMultipleChoiceField(
            queryset=self.collections,
            to_field_name="slug",
            required=False,
            widget=forms.CheckboxSelectMultiple,
            error_messages={"invalid_choice": "There is no collection %(value)s, or you may not see it."},
        )

    def slugs(self) -> list[str]:
        return [collection.slug for collection in self.cleaned_data["collection"]]
