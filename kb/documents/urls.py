"""Addresses of the library, of documents and of uploads."""

from django.urls import path

from kb.documents.views import document, editing, library

urlpatterns = [
    path("library/", library.library, name="library"),
    path("library/<slug:slug>/", library.collection, name="collection"),
    path("library/<slug:slug>/progress/", library.collection_progress, name="collection-progress"),
    path("upload/", editing.upload, name="upload"),
    path("documents/<uuid:pk>/", document.document, name="document"),
    path("documents/<uuid:pk>/original/", document.document_original, name="document-original"),
    path("documents/<uuid:pk>/progress/", library.document_progress, name="document-progress"),
    path("documents/<uuid:pk>/replace/", editing.document_replace, name="document-replace"),
    path("documents/<uuid:pk>/delete/", editing.document_delete, name="document-delete"),
    path("documents/<uuid:pk>/retry/", editing.document_retry, name="document-retry"),
    path("documents/<uuid:pk>/reparse/", editing.document_reparse, name="document-reparse"),
]
