/** For an app that has no organizations of its own yet. */
import { ConvexError, v } from "convex/values";
import { internalMutation } from "./_generated/server";
import { toHttpUrl } from "./events/text";

/**
 * Creates an organization, not yet connected to lu.ma, and returns its id.
 *
 * @throws ConvexError if the name is empty, the slug is empty or taken, or the logo isn't an http(s) URL of at most
 * 2,000 characters.
 */
export const create = internalMutation({
  args: { name: v.string(), slug: v.optional(v.string()), logoUrl: v.optional(v.string()) },
  returns: v.id("organizations"),
  handler: async (ctx, args) => {
    const name = args.name.trim();
    const slug = args.slug?.trim();
    const logoUrl = toHttpUrl(args.logoUrl);
    if (name === "") throw new ConvexError("An organization needs a name.");
    if (slug === "") throw new ConvexError("The slug is empty: enter one, or leave it out.");
    if (args.logoUrl !== undefined && logoUrl === undefined) {
      throw new ConvexError("The logo must be an http(s) URL of at most 2,000 characters.");
    }
    if (slug !== undefined) {
      const taken = await ctx.db
        .query("organizations")
        .withIndex("by_slug", (q) => q.eq("slug", slug))
        .first();
      if (taken !== null) {
        throw new ConvexError(
          `The slug "${slug}" is taken by the organization "${taken.name}": choose another.`,
        );
      }
    }
    return await ctx.db.insert("organizations", { name, slug, logoUrl });
  },
});
