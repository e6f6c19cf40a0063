/* eslint-disable */
/**
 * Generated `api` utility.
 *
 * THIS CODE IS AUTOMATICALLY GENERATED.
 *
 * To regenerate, run `npx convex dev`.
 * @module
 */

import type * as crons from "../crons.js";
import type * as events_failure from "../events/failure.js";
import type * as events_luma_addresses from "../events/luma/addresses.js";
import type * as events_luma_attempt from "../events/luma/attempt.js";
import type * as events_luma_config from "../events/luma/config.js";
import type * as events_luma_key from "../events/luma/key.js";
import type * as events_luma_mapping from "../events/luma/mapping.js";
import type * as events_luma_request from "../events/luma/request.js";
import type * as events_luma_secrets from "../events/luma/secrets.js";
import type * as events_luma_wire from "../events/luma/wire.js";
import type * as events_lumaClient from "../events/lumaClient.js";
import type * as events_mutations from "../events/mutations.js";
import type * as events_organizations from "../events/organizations.js";
import type * as events_queries from "../events/queries.js";
import type * as events_queue_syncs from "../events/queue/syncs.js";
import type * as events_queue_worker from "../events/queue/worker.js";
import type * as events_runtime from "../events/runtime.js";
import type * as events_settings from "../events/settings.js";
import type * as events_steps_changes from "../events/steps/changes.js";
import type * as events_steps_convexCalls from "../events/steps/convexCalls.js";
import type * as events_steps_descriptions from "../events/steps/descriptions.js";
import type * as events_steps_missing from "../events/steps/missing.js";
import type * as events_steps_singleEvents from "../events/steps/singleEvents.js";
import type * as events_steps_window from "../events/steps/window.js";
import type * as events_sync from "../events/sync.js";
import type * as events_tables from "../events/tables.js";
import type * as events_text from "../events/text.js";
import type * as events_validators from "../events/validators.js";
import type * as events_views_dashboard from "../events/views/dashboard.js";
import type * as events_views_orgPage from "../events/views/orgPage.js";
import type * as events_views_shapes from "../events/views/shapes.js";
import type * as events_views_upcoming from "../events/views/upcoming.js";
import type * as events_webhook from "../events/webhook.js";
import type * as http from "../http.js";
import type * as lumaApp from "../lumaApp.js";
import type * as organizations from "../organizations.js";
import type * as orgs_mutations from "../orgs/mutations.js";
import type * as orgs_queries from "../orgs/queries.js";

import type {
  ApiFromModules,
  FilterApi,
  FunctionReference,
} from "convex/server";

declare const fullApi: ApiFromModules<{
  crons: typeof crons;
  "events/failure": typeof events_failure;
  "events/luma/addresses": typeof events_luma_addresses;
  "events/luma/attempt": typeof events_luma_attempt;
  "events/luma/config": typeof events_luma_config;
  "events/luma/key": typeof events_luma_key;
  "events/luma/mapping": typeof events_luma_mapping;
  "events/luma/request": typeof events_luma_request;
  "events/luma/secrets": typeof events_luma_secrets;
  "events/luma/wire": typeof events_luma_wire;
  "events/lumaClient": typeof events_lumaClient;
  "events/mutations": typeof events_mutations;
  "events/organizations": typeof events_organizations;
  "events/queries": typeof events_queries;
  "events/queue/syncs": typeof events_queue_syncs;
  "events/queue/worker": typeof events_queue_worker;
  "events/runtime": typeof events_runtime;
  "events/settings": typeof events_settings;
  "events/steps/changes": typeof events_steps_changes;
  "events/steps/convexCalls": typeof events_steps_convexCalls;
  "events/steps/descriptions": typeof events_steps_descriptions;
  "events/steps/missing": typeof events_steps_missing;
  "events/steps/singleEvents": typeof events_steps_singleEvents;
  "events/steps/window": typeof events_steps_window;
  "events/sync": typeof events_sync;
  "events/tables": typeof events_tables;
  "events/text": typeof events_text;
  "events/validators": typeof events_validators;
  "events/views/dashboard": typeof events_views_dashboard;
  "events/views/orgPage": typeof events_views_orgPage;
  "events/views/shapes": typeof events_views_shapes;
  "events/views/upcoming": typeof events_views_upcoming;
  "events/webhook": typeof events_webhook;
  http: typeof http;
  lumaApp: typeof lumaApp;
  organizations: typeof organizations;
  "orgs/mutations": typeof orgs_mutations;
  "orgs/queries": typeof orgs_queries;
}>;

/**
 * A utility for referencing Convex functions in your app's public API.
 *
 * Usage:
 * ```js
 * const myFunctionReference = api.myModule.myFunction;
 * ```
 */
export declare const api: FilterApi<
  typeof fullApi,
  FunctionReference<any, "public">
>;

/**
 * A utility for referencing Convex functions in your app's internal API.
 *
 * Usage:
 * ```js
 * const myFunctionReference = internal.myModule.myFunction;
 * ```
 */
export declare const internal: FilterApi<
  typeof fullApi,
  FunctionReference<any, "internal">
>;

export declare const components: {};
