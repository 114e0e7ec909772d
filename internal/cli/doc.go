// Package cli is the command line for people. It holds no state: every command
// asks the coordinator, shows what it answers, and ends.
//
// A group of commands is one file with a constructor that takes an *app; it is
// added to the list in root.go. Results go to stdout and nothing else does;
// questions and errors go to stderr.
package cli
