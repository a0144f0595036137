package replication

import (
	"context"
	"sync"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/replica"
)

// isrSender has the controller change ISRs (AlterPartition, KIP-497): one request at a time, with everything that is wanted when it goes.
type isrSender struct {
	manager *replicaManager
	signal  chan struct{}

	mu      sync.Mutex
	waiting map[*hosted]bool // guarded by mu
}

// maxAlterations is how many partitions' ISRs go in one command.
const maxAlterations = 2000

func (s *isrSender) add(h *hosted) {
	s.mu.Lock()
	if s.waiting == nil {
		s.waiting = map[*hosted]bool{}
	}
	s.waiting[h] = true
	s.mu.Unlock()
	notify(s.signal)
}

func (s *isrSender) run() {
	m := s.manager
	for {
		select {
		case <-s.signal:
		case <-m.ctx.Done():
			return
		}
		for s.send() {
		}
	}
}

// proposed is a proposal with whose it is.
type proposed struct {
	h *hosted
	p replica.Proposal
}

// send sends what is wanted, and reports whether there was anything.
func (s *isrSender) send() bool {
	m := s.manager
	var taken []*hosted
	s.mu.Lock()
	for h := range s.waiting {
		if len(taken) == maxAlterations {
			break
		}
		delete(s.waiting, h)
		taken = append(taken, h)
	}
	s.mu.Unlock()
	command := control.AlterPartitions{Node: replica.NodeID(m.node.id), Epoch: m.node.control.epoch()}
	var sent []proposed
	for _, h := range taken {
		h.mu.Lock()
		if h.leader != nil {
			if p, ok := h.leader.Proposal(); ok {
				sent = append(sent, proposed{h, p})
				command.Partitions = append(command.Partitions, control.AlterPartition{
					Partition: h.id, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch, ISR: p.ISR, Recovering: p.Recovering,
				})
			}
		}
		h.mu.Unlock()
	}
	if len(sent) == 0 {
		return len(taken) > 0
	}
	ctx, cancel := context.WithCancel(m.ctx)
	stop := m.clock.AfterFunc(m.node.config.RequestTimeout, cancel)
	result, err := m.node.control.propose(ctx, command)
	stop()
	cancel()
	answers, _ := result.Answer.([]control.AlterAnswer)
	again := false
	for i, one := range sent {
		a := replica.Altered{Code: replica.RequestTimedOut, LeaderEpoch: one.p.LeaderEpoch, PartitionEpoch: one.p.PartitionEpoch}
		switch {
		case err != nil:
		case result.Code != control.OK:
			a.Code = result.Code
		case i < len(answers):
			a.Code = answers[i].Code
			a.State = replica.MetadataOf(answers[i].State, 0)
		}
		again = one.h.altered(a) || again
	}
	if again {
		m.after(m.node.config.HeartbeatInterval/2, func() { notify(s.signal) })
		return false
	}
	return true
}

// altered takes the controller's answer, and reports whether the proposal is to be sent again after a while.
func (h *hosted) altered(a replica.Altered) (again bool) {
	h.event(func(l *replica.Leader) replica.Effects {
		before := len(l.ISR())
		e := l.Altered(a)
		h.count(before)
		if again = e.Has(replica.ProposalReady); again {
			s := &h.m.isr
			s.mu.Lock()
			s.waiting[h] = true
			s.mu.Unlock()
		}
		return e &^ replica.ProposalReady
	})
	return again
}
