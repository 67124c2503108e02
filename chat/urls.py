"""URLs of the chat pages and their fragments."""

from django.urls import path

from chat.views import answers, messages, pages, preferences, sidebar, transcript

urlpatterns = [
    path("", pages.chat, name="chat"),
    path("favicon.ico", pages.favicon),
    path("ask/", answers.ask, name="ask"),
    path("sidebar/", sidebar.sidebar, name="sidebar"),
    path("preferences/", preferences.preferences, name="preferences"),
    path("c/<uuid:pk>/", pages.conversation, name="conversation"),
    path("c/<uuid:pk>/older/", transcript.older, name="older"),
    path("c/<uuid:pk>/transcript/", transcript.transcript, name="transcript"),
    path("c/<uuid:pk>/rename/", sidebar.rename, name="rename"),
    path("c/<uuid:pk>/delete/", sidebar.delete, name="delete"),
    path("c/<uuid:pk>/restore/", sidebar.restore, name="restore"),
    path("c/<uuid:pk>/configure/", preferences.configure, name="configure"),
    path("m/<int:pk>/", messages.message, name="message"),
    path("m/<int:pk>/find/", transcript.find, name="find"),
    path("m/<int:pk>/source/", messages.source, name="source"),
    path("m/<int:pk>/edit/", pages.edit, name="edit"),
    path("m/<int:pk>/regenerate/", answers.regenerate, name="regenerate"),
    path("m/<int:pk>/continue/", answers.resume, name="resume"),
    path("m/<int:pk>/select/", messages.select, name="select"),
    path("g/<int:pk>/stop/", answers.stop, name="stop"),
    path("g/<int:pk>/receipt/", answers.details, name="details"),
]
