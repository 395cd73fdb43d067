// Serves the page with records in memory, to look at while it is developed: `node build/e2e/serve.mjs PORT VMS DAYS`.

import { Mock, names } from "./mock.ts";

const [, , port = "8090", vms = "24", days = "7"] = process.argv;
const hub = new Mock({ vms: names(Number(vms)), days: Number(days) });
console.log(`${await hub.listen(Number(port))}: ${hub.records.length} records`);
