"""What an administrator says with a step of a version's life."""

from django import forms
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

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
