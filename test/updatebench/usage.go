package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// usage is what a process has used: CPU time, and memory now, in bytes.
type usage struct {
	cpu time.Duration
	rss int64
}

// ticks is the kernel's USER_HZ, which is 100 on every Linux that Go runs on.
const ticks = 100

// usageOf reads /proc/PID/stat: utime, stime and rss are fields 14, 15 and 24
// (proc(5)); the name in field 2 may hold anything, so counting begins after it.
func usageOf(pid int) (usage, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, fmt.Errorf("read the usage of process %d: %w", pid, err)
	}
	text := string(data)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	const state = 3 // the number of the first field after the name
	if len(fields) < 24-state+1 {
		return usage{}, fmt.Errorf("read the usage of process %d: %d fields", pid, len(fields))
	}
	var n [3]int64
	for i, field := range []int{14, 15, 24} {
		if n[i], err = strconv.ParseInt(fields[field-state], 10, 64); err != nil {
			return usage{}, fmt.Errorf("read the usage of process %d: %w", pid, err)
		}
	}
	return usage{cpu: time.Duration(n[0]+n[1]) * time.Second / ticks, rss: n[2] * int64(os.Getpagesize())}, nil
}
