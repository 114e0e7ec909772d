// Package terminal writes to a person's terminal: it takes the sting out of text
// that others wrote, colours what we write, and redraws a block of lines.
package terminal
