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
import type * as events_compare from "../events/compare.js";
import type * as events_dashboard from "../events/dashboard.js";
import type * as events_fullRun from "../events/fullRun.js";
import type * as events_logLines from "../events/logLines.js";
import type * as events_lumaClient from "../events/lumaClient.js";
import type * as events_lumaError from "../events/lumaError.js";
import type * as events_lumaMapping from "../events/lumaMapping.js";
import type * as events_lumaRequest from "../events/lumaRequest.js";
import type * as events_lumaWire from "../events/lumaWire.js";
import type * as events_mutations from "../events/mutations.js";
import type * as events_orgPage from "../events/orgPage.js";
import type * as events_orgSync from "../events/orgSync.js";
import type * as events_publicShapes from "../events/publicShapes.js";
import type * as events_queries from "../events/queries.js";
import type * as events_slices from "../events/slices.js";
import type * as events_sync from "../events/sync.js";
import type * as events_syncFailures from "../events/syncFailures.js";
import type * as events_syncGuard from "../events/syncGuard.js";
import type * as events_text from "../events/text.js";
import type * as events_validators from "../events/validators.js";
import type * as orgs_lumaKey from "../orgs/lumaKey.js";
import type * as orgs_mutations from "../orgs/mutations.js";
import type * as orgs_queries from "../orgs/queries.js";

import type {
  ApiFromModules,
  FilterApi,
  FunctionReference,
} from "convex/server";

declare const fullApi: ApiFromModules<{
  crons: typeof crons;
  "events/boundedReads": typeof events_boundedReads;
  "events/compare": typeof events_compare;
  "events/dashboard": typeof events_dashboard;
  "events/fullRun": typeof events_fullRun;
  "events/logLines": typeof events_logLines;
  "events/lumaClient": typeof events_lumaClient;
  "events/lumaError": typeof events_lumaError;
  "events/lumaMapping": typeof events_lumaMapping;
  "events/lumaRequest": typeof events_lumaRequest;
  "events/lumaWire": typeof events_lumaWire;
  "events/mutations": typeof events_mutations;
  "events/orgPage": typeof events_orgPage;
  "events/orgSync": typeof events_orgSync;
  "events/publicShapes": typeof events_publicShapes;
  "events/queries": typeof events_queries;
  "events/slices": typeof events_slices;
  "events/sync": typeof events_sync;
  "events/syncFailures": typeof events_syncFailures;
  "events/syncGuard": typeof events_syncGuard;
  "events/text": typeof events_text;
  "events/validators": typeof events_validators;
  "orgs/lumaKey": typeof orgs_lumaKey;
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
