// Package guestclient calls a guest: boot status, evidence, secrets.
//
// A guest is not trusted before its evidence is verified, and its certificate
// says nothing: it is the evidence that binds the key. So a [Client] takes the
// key that it meets first, tells its digest, and speaks to no other key from
// then on; the caller verifies evidence against that digest, and what it then
// sends goes to the verified key or nowhere.
package guestclient
