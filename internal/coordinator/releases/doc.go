// Package releases says whether a release may be deployed: whether its manifest is
// there, signed by somebody who is trusted for its org and repository, made for
// this very release, and not older than may be.
package releases
