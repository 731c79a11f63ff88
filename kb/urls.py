"""Every address of the site."""

from django.contrib import admin
from django.urls import include, path

from kb.api import api
from kb.core.views import server_error

admin.autodiscover()
handler500 = server_error

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/v1/", api.urls),
    path("", include("kb.core.urls")),
    path("", include("kb.documents.urls")),
    path("", include("kb.indexes.urls")),
    path("", include("kb.search.urls")),
]
