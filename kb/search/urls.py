"""Addresses for asking, answers and searching."""

from django.urls import path

from kb.search.views import answers, asking, searching

urlpatterns = [
    path("", asking.asking, name="ask"),
    path("ask/stream", asking.ask_stream, name="ask-stream"),
    path("answers/<uuid:pk>/", answers.answer, name="answer"),
    path("answers/<uuid:pk>/footnotes/<int:marker>/", answers.citation, name="citation"),
    path("answers/<uuid:pk>/feedback/", answers.feedback, name="feedback"),
    path("search/", searching.searching, name="search"),
    path("search/<uuid:pk>/results/<int:rank>/", searching.result, name="result"),
]
