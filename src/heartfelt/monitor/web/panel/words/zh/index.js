// SPDX-License-Identifier: MIT
import events from "./events.js";
import instance from "./instance.js";
import instances from "./instances.js";
import overview from "./overview.js";
import parts from "./parts.js";
import services from "./services.js";
import settings from "./settings.js";
import shell from "./shell.js";
import states from "./states.js";
import tokens from "./tokens.js";
import webhooks from "./webhooks.js";

export default { events, instance, instances, overview, parts, services, settings, shell, states, tokens, webhooks };
