/** The app's HTTP endpoints: lu.ma's webhook calls. */
import { httpRouter } from "convex/server";
import { lumaWebhook } from "./events/webhook";

const http = httpRouter();

http.route({ pathPrefix: "/luma/", method: "POST", handler: lumaWebhook });

export default http;
