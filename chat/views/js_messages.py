"""Messages that the page's scripts show, in the user's language."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

# By name. `translate(name, values)` in config.js looks them up and fills in the {braces}.
JS_MESSAGES: dict[str, str | Promise] = {
    # An answer
    "queued": _("Waiting in the queue…"),
    "queuedAt": _("Waiting in the queue, position {position}…"),
    "waiting": _("Waiting for {model}…"),
    "loading": _("Waiting for {model} ({seconds} s). It may be loading, or busy with other requests."),
    "quiet": _("The model has paused for {seconds} s. Waiting for more…"),
    "thinking": _("Thinking…"),
    "thought": _("Thought for {seconds} s"),
    "retrying": _("{message} Attempt {attempt} of {of} in {seconds} s."),
    "retryingNow": _("{message} Attempt {attempt} of {of}…"),
    "retryingDown": _("{message} Trying again in {seconds} s."),
    "retryingDownNow": _("{message} Trying again…"),
    "switched": _("Continued with {model}."),
    "continued": _("Interrupted. Continuing…"),
    "restarted": _("The answer was interrupted and is being generated again."),
    "answerStarted": _("The answer has started."),
    "answerLater": _("The answer comes later. You can leave this page meanwhile."),
    "answerComplete": _("The answer is complete."),
    "answerStopped": _("Stopped."),
    "answerEnded": _("The answer ended early: {status}"),
    # The message field
    "busy": _("The answer is still being written. Wait until it is complete, or press Esc to stop it."),
    "chooseFirst": _("Choose the answer to go on with first. Your text is kept."),
    "counter": _("{left} characters left"),
    "counterOver": _("{over} characters over the limit"),
    "newPrompt": _("You have no prompts yet: make one…"),
    "queuedUp": _("Your message is queued. It will be sent when the answer is complete."),
    "queuedForAnswer": _("Sends when this answer is complete."),
    "queuedForChoice": _("Sends when you have chosen an answer."),
    "queuedElsewhere": _("Queued in another tab, not sent yet."),
    "keptElsewhere": _(
        "A message in another conversation could not be sent. It is saved there as a draft. {reason}"
    ),
    "notSent": _("Not sent, because the answer ended early."),
    "send": _("Sending…"),
    "sendLater": _("Not sent yet. It will be sent as soon as you are connected."),
    "tooLong": _(
        "This message has {length} characters; the limit is {limit}. Shorten it or send it in parts."
    ),
    # Files
    "file": _("file"),
    "uploading": _("Uploading…"),
    "uploadingPercent": _("Uploading… {percent} %"),
    "readingFile": _("Reading…"),
    "uploadFailed": _("The upload was interrupted. Try again."),
    "fileTooLarge": _("Files may have up to {limit}. Choose a smaller one."),
    "fileNotAccepted": _("The server does not accept a file of this size. Choose a smaller one."),
    "fileLost": _("Its upload did not end. Choose the file again."),
    "filesFailed": _("A file could not be attached. Try it again, or remove it."),
    "filesTooMany": _("A message can have at most {limit} files."),
    "heldUploading": _("Your message will be sent when its files are uploaded."),
    "cannotSee": _("{model} cannot see pictures. Choose a model that can, or remove the picture."),
    "cancelUpload": _("Cancel the upload of {name}"),
    "removeFile": _("Remove {name}"),
    "retryFile": _("Try {name} again"),
    # The connection
    "offline": _("You are offline. Your messages are saved and will be sent when you are back online."),
    "reconnecting": _("Reconnecting… Your text is saved."),
    "reconnected": _("Connected again."),
    "loadFailed": _("Some messages could not be loaded. Trying again…"),
    "deletedElsewhere": _("This conversation was deleted."),
    "newConversation": _("New chat"),
    "outdated": _("This site has been updated. Reload the page; your text is saved."),
    "reload": _("Reload"),
    "signedOut": _("You have been signed out. Your text is saved."),
    "signIn": _("Sign in"),
    "unknownAddress": _(
        "The site does not know the address in your browser, so nothing can be sent from here. "
        "Your text is saved. Please tell the person who runs this site."
    ),
    "unknownAddressStaff": _(
        "The site does not know the address in your browser, so nothing can be sent from here. "
        "If a proxy in front of it ends TLS, set CHATSITE_PUBLIC_URL={address} and restart the server."
    ),
    "otherUser": _("Another user has signed in on this browser. Your text is saved for you."),
    "temporaryTitle": _("Temporary chat"),
    "temporary": _(
        "Temporary chat: it is not on the list, and is erased in a day. "
        "People who review this site can read it until then."
    ),
    # Commands
    "useModel": _("Model: {model}"),
    "systemTheme": _("Theme: like the system"),
    "lightTheme": _("Theme: light"),
    "darkTheme": _("Theme: dark"),
    "toggleWidth": _("Wide or usual text"),
    "toggleSidebar": _("Show or hide the conversations"),
    "showKeys": _("Keyboard shortcuts"),
    "answerReady": _("Your answer is ready"),
    "againWith": _("Regenerate with another model"),
    "messageMenu": _("Message"),
    "selectText": _("Select text"),
    "quote": _("Quote"),
    "moved": _("Moved to {project}"),
    "moveFailed": _("The conversation could not be moved. Try again."),
    # Code and tables
    "showDiagram": _("Show the diagram"),
    "diagram": _("Diagram"),
    "diagramFailed": _("The diagram cannot be drawn: {reason}"),
    "wrap": _("Wrap long lines"),
    "download": _("Download"),
    "allLines": _("Show all {lines} lines"),
    "copyTable": _("Copy the table"),
    "downloadTable": _("Download the table as CSV"),
    "sort": _("Sort by this column"),
    "copy": _("Copy"),
    "copied": _("Copied"),
    "copyFailed": _("Copying failed"),
}
