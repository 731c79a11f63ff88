"""The admin of calibrations: what each backend was measured to do, and which one runs a model on which machine."""

from django.contrib import admin
from django.template.loader import render_to_string

from kb.core.admin.base import ReadOnly, display
from kb.indexes.models import Calibration


@admin.register(Calibration)
class CalibrationAdmin(ReadOnly[Calibration]):
    """One row for a model and a machine; `manage.py calibrate --again` renews it."""

    list_display = ["model", "described", "backend", "number_format", "batch_size", "rate", "created_at"]
    list_filter = ["model", "backend"]
    list_select_related = ["model"]
    ordering = ["-created_at"]
    readonly_fields = ("table",)
    fields = (
        "model",
        "described",
        ("backend", "number_format", "batch_size"),
        "table",
        "created_at",
        "machine",
    )

    @display(description="Chunks/s")
    def rate(self, calibration: Calibration) -> str:
        chosen = (calibration.backend, calibration.number_format)
        rates = [
            rate
            for row in calibration.measured
            if (row["backend"], row["number_format"]) == chosen
            for rate in row["rates"].values()
        ]
        return f"{max(rates):.1f}" if rates else "–"

    @display(description="Measured")
    def table(self, calibration: Calibration) -> str:
        rows = [
            {
                **row,
                "rate": max(row["rates"].values(), default=0.0),
                "sizes": sorted(row["rates"].items(), key=_size),
            }
            for row in calibration.measured
        ]
        most = max((row["rate"] for row in rows), default=0.0)
        return render_to_string("admin/indexes/calibration.html", {"rows": rows, "most": most or 1})


def _size(pair: tuple[str, float]) -> int:
    return int(pair[0])
