"""A machine's life, driven by qemu.qmp: pause, resume, hot-unplug, a mirror to completion, reset, shutdown."""

import asyncio
import sys

from qemu.qmp import EventListener, QMPClient


async def until(events: EventListener, name: str) -> dict:
    """Prints the events up to the named one."""
    while True:
        event = await asyncio.wait_for(events.get(), 10)
        data = event.get("data", {})
        print(event["event"], data.get("status", data.get("reason", data.get("path", ""))))
        if event["event"] == name:
            return event


async def main(path: str) -> None:
    client = QMPClient("life")
    events = EventListener()
    client.register_listener(events)
    await client.connect(path)
    print((await client.execute("query-status"))["status"])
    await client.execute("stop")
    print((await client.execute("query-status"))["status"])
    await client.execute("cont")
    await client.execute("device_del", {"id": "net0"})
    await until(events, "DEVICE_DELETED")
    await until(events, "DEVICE_DELETED")
    await client.execute("blockdev-add", {"driver": "null-co", "node-name": "copy"})
    mirror = {"job-id": "m", "device": "disk0-node", "target": "copy", "sync": "full"}
    await client.execute("blockdev-mirror", mirror)
    await until(events, "BLOCK_JOB_READY")
    await client.execute("block-job-complete", {"device": "m"})
    await until(events, "BLOCK_JOB_COMPLETED")
    await until(events, "JOB_STATUS_CHANGE")
    await until(events, "JOB_STATUS_CHANGE")
    await client.execute("system_reset")
    await until(events, "RESET")
    await client.execute("system_powerdown")
    await until(events, "SHUTDOWN")
    try:
        await client.disconnect()
    except EOFError:
        pass
    print("done")


asyncio.run(main(sys.argv[1]))
