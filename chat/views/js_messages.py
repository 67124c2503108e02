"""What the page's scripts say, in the person's language."""

from __future__ import annotations

from django.utils.translation import gettext as _


def words_for_scripts() -> dict[str, str]:
    """Return sentences by name; {braces} are filled in by the page."""
    return {
        "answerComplete": _("The answer is complete."),
        "answerEnded": _("The answer ended early: {status}"),
        "answerStarted": _("The answer has started."),
        "busy": _("The answer is still being written. Wait for it, or stop it with Esc."),
        "code": _("code"),
        "continued": _("Cut off; continuing…"),
        "copied": _("Copied"),
        "copy": _("Copy"),
        "copyFailed": _("This browser did not let us copy."),
        "counter": _("{left} characters left"),
        "deletedElsewhere": _("This conversation was deleted."),
        "editing": _("Editing an earlier message; its present version is kept."),
        "held": _(
            "This goes out when this answer is complete. Esc stops the answer; typing on holds it back."
        ),
        "keptElsewhere": _(
            "A message you wrote elsewhere was not sent; it is in the message field there. {reason}"
        ),
        "loadFailed": _("Not everything could be loaded. Trying again…"),
        "newConversation": _("New conversation"),
        "notSent": _("That answer ended early, so your message was not sent yet. Send it when you want to."),
        "offline": _("You are offline. Your text is kept and sent later."),
        "outdated": _("The program was updated. Reload this page; your text is kept."),
        "queued": _("Waiting for a free slot…"),
        "queuedAt": _("Waiting, number {position} in line…"),
        "reconnected": _("Connected again."),
        "reconnecting": _("Reconnecting… Your text is kept."),
        "reload": _("Reload"),
        "restarted": _("The answer was cut and begins anew."),
        "retrying": _("{message} Attempt {attempt} of {of} follows in {seconds} s."),
        "retryingNow": _("{message} Attempt {attempt} of {of}…"),
        "retryingDown": _("{message} Trying again in {seconds} s."),
        "retryingDownNow": _("{message} Trying again…"),
        "send": _("Sending…"),
        "sendLater": _("Not sent yet. It is kept here and sent as soon as there is a connection."),
        "signedOut": _("You are signed out. Your text is kept."),
        "signIn": _("Sign in"),
        "somebodyElse": _("Somebody else has signed in in this browser. Your text is kept for you."),
        "switched": _("Continued on {model}."),
        "thinking": _("Thinking…"),
        "thought": _("Thought for {seconds} s"),
        "tooLong": _(
            "This message has {length} characters; the limit is {limit}. Shorten it or send it in parts."
        ),
        "waiting": _("Waiting for {model}…"),
    }
