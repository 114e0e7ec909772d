// Package fake is a host's GPUs without the hardware: an inventory described
// by a small YAML file, for tests, demos and development.
//
//	version: 1
//	preset: 8xH200          # or model, gpus, switches and mode, spelt out
//	mode_switch: {duration: 2s}
//	cards:
//	  - {index: 3, sick: "Xid 79: GPU has fallen off the bus"}
//
// The file is read again whenever its contents change, so that a card can be
// made sick while an agent runs. A change of mode lives in the process only; a
// change of mode in the file overrides it.
package fake
