"""What a user of qemu.qmp does: connect, execute, receive events, disconnect."""

import asyncio
import sys

from qemu.qmp import ExecuteError, QMPClient


async def main(path: str) -> None:
    client = QMPClient("test")
    await client.connect(path)
    print((await client.execute("query-status"))["status"])
    with client.listener() as events:
        await client.execute("cont")
        await client.execute("system_reset")
        await client.execute("stop")
        for _ in range(3):
            event = await asyncio.wait_for(events.get(), 10)
            data = event.get("data", {})
            print(event["event"], data["reason"]) if "reason" in data else print(event["event"])
    for arguments in ({"id": "nope"}, {}):
        try:
            await client.execute("device_del", arguments)
        except ExecuteError as error:
            print(error.error.error.class_, error.error.error.desc)
    # 300 kB in one line.
    schema = await client.execute("query-qmp-schema")
    missing = {"SHUTDOWN", "WATCHDOG", "device_del"} - {entry["name"] for entry in schema}
    print(missing or "none")
    await client.disconnect()
    print("done")


asyncio.run(main(sys.argv[1]))
