package simulate

import "time"

// Process is where the events of one node happen, one after the other. Each of its lives, from Start to Kill, is apart from the
// others: what was meant for an earlier one never reaches a later one.
type Process struct {
	sched  *Scheduler
	life   uint64 // raised by each Start
	up     bool
	paused bool
	busy   time.Duration // until when it waits for its disk
	queue  []task        // what came while it was paused or busy, in order
	wake   *Timer
}

// task is something to be done in one life of a process.
type task struct {
	life uint64
	f    func()
}

// NewProcess returns a process that has not been started.
func NewProcess(s *Scheduler) *Process { return &Process{sched: s} }

// Life returns the number of the present life, or of the last one.
func (p *Process) Life() uint64 { return p.life }

// Up reports whether it lives, be it paused.
func (p *Process) Up() bool { return p.up }

// Paused reports whether it lives and is paused.
func (p *Process) Paused() bool { return p.up && p.paused }

// Start begins a new life. It panics if there is one.
func (p *Process) Start() {
	if p.up {
		panic("BUG: process started twice")
	}
	p.life++
	p.up, p.paused, p.busy = true, false, 0
}

// Kill ends the life, and all that was to be done in it.
func (p *Process) Kill() {
	p.up, p.paused, p.queue = false, false, nil
	p.sched.Stop(p.wake)
	p.wake = nil
}

// Pause keeps what happens waiting until Resume, as SIGSTOP does: messages queue up, timers fire late.
func (p *Process) Pause() { p.paused = p.up }

// Resume ends a Pause.
func (p *Process) Resume() {
	if p.Paused() {
		p.paused = false
		p.drain()
	}
}

// Stall makes what comes next wait for d from now, or from the end of the stall that is going on: the node's only thread waits for its disk.
func (p *Process) Stall(d time.Duration) {
	p.busy = max(p.busy, p.sched.Now()) + d
}

// Unstall ends what is left of a stall: the disk is fast again.
func (p *Process) Unstall() {
	p.busy = min(p.busy, p.sched.Now())
	p.sched.Stop(p.wake)
	p.wake = nil
	p.rouse()
}

// Do has f done in the present life: now, or when the process is free to do it; never if it does not live.
func (p *Process) Do(f func()) { p.DoIn(p.life, f) }

// DoIn is Do, if the life is still that one.
func (p *Process) DoIn(life uint64, f func()) {
	if !p.up || life != p.life {
		return
	}
	if p.paused || p.busy > p.sched.Now() || len(p.queue) > 0 {
		p.queue = append(p.queue, task{life: life, f: f})
		p.rouse()
		return
	}
	f()
}

// rouse makes sure that the queue is looked at when the stall is over.
func (p *Process) rouse() {
	if p.wake != nil || p.paused || !p.up || len(p.queue) == 0 {
		return
	}
	p.wake = p.sched.At(p.busy, func() {
		p.wake = nil
		p.drain()
	})
}

// drain does what has queued up, until the process is paused, stalled or killed by it.
func (p *Process) drain() {
	for len(p.queue) > 0 && p.up && !p.paused && p.busy <= p.sched.Now() {
		t := p.queue[0]
		p.queue[0] = task{}
		p.queue = p.queue[1:]
		if t.life == p.life {
			t.f()
		}
	}
	p.rouse()
}

// Backlog returns how much waits to be done, and until when the process is stalled.
func (p *Process) Backlog() (tasks int, stalled time.Duration) { return len(p.queue), p.busy }
