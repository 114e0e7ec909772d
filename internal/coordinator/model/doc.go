// Package model holds the coordinator's records: what is wanted, what is being
// done about it, and what was promised. They are plain data; the engine changes
// them, the store keeps them, the API shows them.
package model
