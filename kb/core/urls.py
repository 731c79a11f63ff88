"""Addresses of accounts, invitations and collections' settings."""

from django.contrib.auth import views as auth
from django.urls import path

from kb.core import views

urlpatterns = [
    path("login/", views.SignIn.as_view(), name="login"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    path("password/", views.ChangePassword.as_view(), name="password_change"),
    path("password/reset/", views.ResetPassword.as_view(), name="password_reset"),
    path("password/reset/sent/", auth.PasswordResetDoneView.as_view(), name="password_reset_done"),
    path("password/reset/done/", auth.PasswordResetCompleteView.as_view(), name="password_reset_complete"),
    path(
        "password/reset/<uidb64>/<token>/",
        auth.PasswordResetConfirmView.as_view(),
        name="password_reset_confirm",
    ),
    path("invitations/<str:token>/", views.invitation, name="invitation"),
    path("account/", views.account, name="account"),
    path("account/keys/<int:pk>/revoke/", views.key_revoke, name="key-revoke"),
    path("collections/new/", views.collection_create, name="collection-create"),
    path("collections/<slug:slug>/settings/", views.collection_settings, name="collection-settings"),
    path("collections/<slug:slug>/delete/", views.collection_delete, name="collection-delete"),
    path("collections/<slug:slug>/members/", views.collection_members, name="collection-members"),
]
