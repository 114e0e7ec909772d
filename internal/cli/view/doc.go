// Package view puts what the coordinator answers into words, tables and the
// picture of an update in progress. It is pure: text in, text out, and every text
// that came from elsewhere is cleaned of escape sequences.
package view
