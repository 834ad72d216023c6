"""The loop that joins delivery rules, group, vault and transport."""

from client_sdk.engine.account import Account, create_account, token_subject
from client_sdk.engine.calling import Ring
from client_sdk.engine.conversation import Conversation
from client_sdk.engine.engine import Engine
from client_sdk.engine.files import Files
from client_sdk.engine.items import (
    Alarm,
    AnyItem,
    CallEndedItem,
    CallInviteItem,
    Change,
    Changed,
    CheckInAnswerItem,
    CheckInItem,
    Delivery,
    FileItem,
    Gap,
    Item,
    Reacted,
    Retracted,
    Seen,
    TextItem,
)
from client_sdk.engine.people import People, Person
from client_sdk.engine.suites import Protection
from client_sdk.engine.waiting import Waiting, WaitReason

__all__ = [
    "Account",
    "Alarm",
    "AnyItem",
    "CallEndedItem",
    "CallInviteItem",
    "Change",
    "Changed",
    "CheckInAnswerItem",
    "CheckInItem",
    "Conversation",
    "Delivery",
    "Engine",
    "FileItem",
    "Files",
    "Gap",
    "Item",
    "People",
    "Person",
    "Protection",
    "Reacted",
    "Retracted",
    "Ring",
    "Seen",
    "TextItem",
    "WaitReason",
    "Waiting",
    "create_account",
    "token_subject",
]
