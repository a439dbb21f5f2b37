# SPDX-License-Identifier: Apache-2.0
"""Tasks: each runs in a thread of its own and can be watched and cancelled."""
import datetime
import threading
import traceback

from .model import Entity
from .vimfault import VimFault
from .vimtypes import Data


def utc(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)


class Task(Entity):
    def __init__(self, world, method, entity, username):
        number = world.number("task")
        kind = "VirtualMachineSnapshot" if entity.type == "VirtualMachineSnapshot" else entity.type
        short = method[0].lower() + method[1:].removesuffix("_Task")
        moref = f"haTask-{entity.moref}-vim.{kind}.{short}-{number}" if world.esxi else f"task-{number}"
        super().__init__(world, "Task", moref, method)
        self.kind, self.short = kind, short
        shown = getattr(entity, "vm", entity)            # a snapshot's task is shown on its VM
        self.entity, self.entity_name, self.username = shown.ref, shown.name, username
        self.state, self.progress, self.result, self.fault = "queued", None, None, None
        self.queued = world.clock.now()
        self.started = self.completed = None
        self.cancelled = threading.Event()

    def show(self, **changes):
        with self.world.lock:
            for name, value in changes.items():
                setattr(self, name, value)
            self.world.touch(self)

    def take(self, milliseconds, first=0, last=95):
        """Let time pass with progress; raises RequestCanceled when the task was cancelled."""
        steps = max(1, min(20, milliseconds // 50))
        for step in range(steps):
            self.show(progress=first + (last - first) * step // steps)
            if self.cancelled.wait(milliseconds / steps / 1000):
                raise VimFault("RequestCanceled")

    def stay(self, progress, seconds, until):
        """Hang at a percentage until the time is over, until() says so, or somebody cancels."""
        self.show(progress=progress)
        end = self.world.clock.now() + seconds
        while self.world.clock.now() < end and not until():
            if self.cancelled.wait(0.05):
                raise VimFault("RequestCanceled")

    def info(self):
        error = None
        if self.fault is not None:
            error = Data("LocalizedMethodFault", fault=self.fault.data, localizedMessage=self.fault.message)
        return Data("TaskInfo", key=self.moref, task=self.ref, name=self.name,
                    descriptionId=f"{self.kind}.{self.short}", entity=self.entity, entityName=self.entity_name,
                    state=self.state, cancelled=self.cancelled.is_set(), cancelable=self.state == "running",
                    error=error, result=self.result, progress=self.progress if self.state == "running" else None,
                    reason=Data("TaskReasonUser", userName=self.username), queueTime=utc(self.queued),
                    startTime=utc(self.started) if self.started else None,
                    completeTime=utc(self.completed) if self.completed else None, eventChainId=1)


KEEP_TASKS = 2000


def _forget_old(world):
    finished = [t for t in world.of_type(Task) if t.completed is not None]
    for task in finished[:max(0, len(finished) - KEEP_TASKS)]:
        world.remove(task)


def _run(task, vm, work):
    world = task.world
    task.show(state="running", started=world.clock.now(), progress=0)
    try:
        changes = {"state": "success", "result": work(task)}
    except VimFault as fault:
        changes = {"state": "error", "fault": fault}
    except Exception as error:              # a bug of the simulator: say so in the task
        traceback.print_exc()
        changes = {"state": "error", "fault": VimFault("SystemError", f"simulator: {error!r}", reason=repr(error))}
    with world.lock:
        if vm is not None:
            vm.task = None
        task.show(completed=world.clock.now(), **changes)


def start(world, method, entity, username, work, vm=None):
    """Run work(task) in the background. With `vm` that VM can have one such task at a time."""
    with world.lock:
        if vm is not None and vm.task is not None:
            raise VimFault("TaskInProgress", task=vm.task.ref)
        _forget_old(world)
        task = Task(world, method, entity, username)
        if vm is not None:
            vm.task = task
        thread = threading.Thread(target=_run, args=(task, vm, work), name=task.moref, daemon=True)
        task.thread = thread
        thread.start()
        return task
