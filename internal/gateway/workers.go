package gateway

import (
	"context"
	"sync"
	"sync/atomic"
)

// maxIdleWorkers bounds the goroutines kept for the next connection.
const maxIdleWorkers = 256

// workers runs the directions of connections. A goroutine that has finished one
// takes the next: a new one would first have to grow its stack to the depth of a
// dial, which is a tenth of what a short connection costs.
type workers struct {
	next chan job
	idle atomic.Int64
	// running counts jobs, all the goroutines.
	running, all sync.WaitGroup
}

// job is a connection to be opened and carried, or its way down.
type job struct {
	ctx  context.Context
	c    *conn
	down bool
}

func newWorkers() *workers {
	return &workers{next: make(chan job)}
}

// start hands the job to an idle goroutine, or to a new one.
func (w *workers) start(j job) {
	w.running.Add(1)
	select {
	case w.next <- j:
	default:
		w.all.Go(func() { w.work(j) })
	}
}

func (w *workers) work(j job) {
	for {
		j.do()
		j = job{} // keeps nothing of the connection
		w.running.Done()
		if w.idle.Add(1) > maxIdleWorkers {
			w.idle.Add(-1)
			return
		}
		var more bool
		if j, more = <-w.next; !more {
			return
		}
		w.idle.Add(-1)
	}
}

func (j job) do() {
	if j.down {
		j.c.carryDown()
	} else {
		j.c.serve(j.ctx)
	}
}

// close ends the idle goroutines, after the last job.
func (w *workers) close() {
	close(w.next)
	w.all.Wait()
}
