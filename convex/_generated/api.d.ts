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
import type * as events_boundedReads from "../events/boundedReads.js";
import type * as events_changes from "../events/changes.js";
import type * as events_convexCalls from "../events/convexCalls.js";
import type * as events_descriptions from "../events/descriptions.js";
import type * as events_environment from "../events/environment.js";
import type * as events_eventSyncs from "../events/eventSyncs.js";
import type * as events_failure from "../events/failure.js";
import type * as events_lacking from "../events/lacking.js";
import type * as events_luma_addresses from "../events/luma/addresses.js";
import type * as events_luma_attempt from "../events/luma/attempt.js";
import type * as events_luma_mapping from "../events/luma/mapping.js";
import type * as events_luma_request from "../events/luma/request.js";
import type * as events_luma_wire from "../events/luma/wire.js";
import type * as events_lumaClient from "../events/lumaClient.js";
import type * as events_mutations from "../events/mutations.js";
import type * as events_queries from "../events/queries.js";
import type * as events_queue from "../events/queue.js";
import type * as events_scheduled from "../events/scheduled.js";
import type * as events_slowWrites from "../events/slowWrites.js";
import type * as events_sync from "../events/sync.js";
import type * as events_text from "../events/text.js";
import type * as events_validators from "../events/validators.js";
import type * as events_views_dashboard from "../events/views/dashboard.js";
import type * as events_views_orgPage from "../events/views/orgPage.js";
import type * as events_views_shown from "../events/views/shown.js";
import type * as events_window from "../events/window.js";
import type * as orgs_app from "../orgs/app.js";
import type * as orgs_createOrg from "../orgs/createOrg.js";
import type * as orgs_lumaConfig from "../orgs/lumaConfig.js";
import type * as orgs_lumaKey from "../orgs/lumaKey.js";
import type * as orgs_mutations from "../orgs/mutations.js";
import type * as orgs_queries from "../orgs/queries.js";
import type * as orgs_syncStatus from "../orgs/syncStatus.js";

import type {
  ApiFromModules,
  FilterApi,
  FunctionReference,
} from "convex/server";

declare const fullApi: ApiFromModules<{
  crons: typeof crons;
  "events/boundedReads": typeof events_boundedReads;
  "events/changes": typeof events_changes;
  "events/convexCalls": typeof events_convexCalls;
  "events/descriptions": typeof events_descriptions;
  "events/environment": typeof events_environment;
  "events/eventSyncs": typeof events_eventSyncs;
  "events/failure": typeof events_failure;
  "events/lacking": typeof events_lacking;
  "events/luma/addresses": typeof events_luma_addresses;
  "events/luma/attempt": typeof events_luma_attempt;
  "events/luma/mapping": typeof events_luma_mapping;
  "events/luma/request": typeof events_luma_request;
  "events/luma/wire": typeof events_luma_wire;
  "events/lumaClient": typeof events_lumaClient;
  "events/mutations": typeof events_mutations;
  "events/queries": typeof events_queries;
  "events/queue": typeof events_queue;
  "events/scheduled": typeof events_scheduled;
  "events/slowWrites": typeof events_slowWrites;
  "events/sync": typeof events_sync;
  "events/text": typeof events_text;
  "events/validators": typeof events_validators;
  "events/views/dashboard": typeof events_views_dashboard;
  "events/views/orgPage": typeof events_views_orgPage;
  "events/views/shown": typeof events_views_shown;
  "events/window": typeof events_window;
  "orgs/app": typeof orgs_app;
  "orgs/createOrg": typeof orgs_createOrg;
  "orgs/lumaConfig": typeof orgs_lumaConfig;
  "orgs/lumaKey": typeof orgs_lumaKey;
  "orgs/mutations": typeof orgs_mutations;
  "orgs/queries": typeof orgs_queries;
  "orgs/syncStatus": typeof orgs_syncStatus;
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
