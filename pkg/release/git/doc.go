// Package git reads the config file of a tag from a Git repository.
//
// A Resolver lists a repository's tags, pins the one that is asked for to the
// commit it names, and reads casemate.yml or tinfoil-config.yml at the root of
// that commit. It fetches one commit without its history, keeps nothing on
// disk, runs no program, and is bounded in bytes and time, because both the URL
// and the repository are a stranger's.
package git
