"""Addresses of the library, of documents and of uploads."""

from django.urls import path

from kb.documents.views import acting, document, editing, failing, library, sources, uploads

COLLECTION, UPLOAD, DOCUMENT = "library/<slug:slug>/", "uploads/<uuid:pk>/", "documents/<uuid:pk>/"

urlpatterns = [
    path("library/", library.library, name="library"),
    path("library/failures/", failing.all_failures, name="failures"),
    path("library/failures/retry/", failing.retry_all, name="failures-retry"),
    path(COLLECTION, library.collection, name="collection"),
    path(f"{COLLECTION}progress/", library.collection_progress, name="collection-progress"),
    path(f"{COLLECTION}failures/", failing.collection_failures, name="collection-failures"),
    path(f"{COLLECTION}failures/retry/", failing.retry_collection, name="collection-failures-retry"),
    path(f"{COLLECTION}sources/", sources.sources, name="collection-sources"),
    path("upload/", editing.upload, name="upload"),
    path("uploads/", uploads.uploads, name="uploads"),
    path("uploads/open/", uploads.upload_open, name="upload-open"),
    path(UPLOAD, uploads.uploaded, name="uploaded"),
    path(f"{UPLOAD}progress/", uploads.uploaded_progress, name="uploaded-progress"),
    path(f"{UPLOAD}failures/", failing.uploaded_failures, name="uploaded-failures"),
    path(f"{UPLOAD}failures/retry/", failing.retry_uploaded, name="uploaded-failures-retry"),
    path(DOCUMENT, document.document, name="document"),
    path(f"{DOCUMENT}original/", document.document_original, name="document-original"),
    path(f"{DOCUMENT}progress/", document.document_progress, name="document-progress"),
    path(f"{DOCUMENT}replace/", editing.document_replace, name="document-replace"),
    path(f"{DOCUMENT}move/", editing.document_move, name="document-move"),
    path(f"{DOCUMENT}delete/", editing.document_delete, name="document-delete"),
    path(f"{DOCUMENT}tags/", editing.document_tags, name="document-tags"),
]

for verb in acting.VERBS:
    urlpatterns += [
        path(f"{COLLECTION}{verb}/", acting.collection, {"verb": verb}, name=f"collection-{verb}"),
        path(f"{UPLOAD}{verb}/", acting.upload, {"verb": verb}, name=f"uploaded-{verb}"),
        path(f"{DOCUMENT}{verb}/", acting.document, {"verb": verb}, name=f"document-{verb}"),
    ]
