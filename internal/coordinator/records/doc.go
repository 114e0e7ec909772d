// Package records keeps the coordinator's records in the store: which key each
// has, how it is encoded, and how the state of one container is read and
// committed as a whole.
package records
