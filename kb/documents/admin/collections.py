"""The collections' admin with what may be done to all documents of one."""

from django.contrib import admin

from kb.core.admin import collections
from kb.core.models import Collection
from kb.documents.admin.steering import Steering


@admin.register(Collection)
class CollectionAdmin(Steering[Collection], collections.CollectionAdmin):
    """Collections, whose documents are paused, cancelled, taken up and parsed again together."""
