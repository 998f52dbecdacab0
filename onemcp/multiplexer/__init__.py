"""Many backends as one server: routing, calls, lists and subscriptions.

A :class:`View` is what one endpoint shows; its `dispatch` takes a request of a client and gives a
:class:`Reply`, from which the messages for the client come one by one.
"""

from __future__ import annotations

from .answering import NO_ANSWERS, Answers, Question
from .client import Client, McpError
from .description import SelfDescription
from .endpoint import Arrangement, Endpoint
from .events import (
    CallParked,
    CallRepeated,
    CallResumed,
    ConflictsChanged,
    MultiplexerEvent,
    ParkedCallExpired,
    QuestionRefused,
    RetryRefused,
    TaskRefused,
    TasksNotNoted,
)
from .lacking import lacking
from .metering import Meter
from .multiplexer import Multiplexer
from .parking import Parking, ParkingLimits
from .reply import Immediate, Reply, gives_up_at
from .selection import EVERYTHING, NOTHING, Selection
from .subscriptions import ALL_LISTS, Subscriber
from .table import Conflict
from .tasks import TaskIds
from .unmatched import UnmatchedPattern
from .view import View
from .watching import About, Transcript, Watcher

__all__ = [
    "ALL_LISTS",
    "EVERYTHING",
    "NOTHING",
    "NO_ANSWERS",
    "About",
    "Answers",
    "Arrangement",
    "CallParked",
    "CallRepeated",
    "CallResumed",
    "Client",
    "Conflict",
    "ConflictsChanged",
    "Endpoint",
    "Immediate",
    "McpError",
    "Meter",
    "Multiplexer",
    "MultiplexerEvent",
    "ParkedCallExpired",
    "Parking",
    "ParkingLimits",
    "Question",
    "QuestionRefused",
    "Reply",
    "RetryRefused",
    "Selection",
    "SelfDescription",
    "Subscriber",
    "TaskIds",
    "TaskRefused",
    "TasksNotNoted",
    "Transcript",
    "UnmatchedPattern",
    "View",
    "Watcher",
    "gives_up_at",
    "lacking",
]
