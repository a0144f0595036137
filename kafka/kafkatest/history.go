package kafkatest

import (
	"fmt"
	"sync"
	"time"

	"github.com/partlog/partlog/group"
)

// GroupEvent is something that has happened to a consumer group.
type GroupEvent struct {
	At         time.Time // by the cluster's clock
	Group      string
	Generation group.Generation // that began or ended; 0 where no generation is concerned
	Members    int              // of the generation
	What       string           // in words
}

// String is a line of a test's log.
func (e GroupEvent) String() string {
	return fmt.Sprintf("%s group %q: %s", e.At.Format(timeFormat), e.Group, e.What)
}

const timeFormat = "15:04:05.000"

// maxHistory bounds what is kept.
const maxHistory = 4096

// history is what has happened to the groups of a cluster.
type history struct {
	now func() time.Time

	mu      sync.Mutex // guards all below
	events  []GroupEvent
	changed chan struct{} // closed, and replaced, at each event, if somebody waits
}

func (h *history) add(e GroupEvent) {
	e.At = h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.events) >= maxHistory {
		h.events = append(h.events[:0:0], h.events[maxHistory/2:]...)
	}
	h.events = append(h.events, e)
	if h.changed != nil {
		close(h.changed)
		h.changed = nil
	}
}

// changes returns a channel that is closed with the next event.
func (h *history) changes() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.changed == nil {
		h.changed = make(chan struct{})
	}
	return h.changed
}

// listen returns functions that note what happens, and call those of the host.
func (h *history) listen(host group.Events) group.Events {
	e := host
	e.Rebalance = func(i group.RebalanceInfo) {
		h.add(GroupEvent{Group: i.Group, Generation: i.Generation, What: fmt.Sprintf("rebalance after generation %d: %s", i.Generation, i.Reason)})
		if host.Rebalance != nil {
			host.Rebalance(i)
		}
	}
	e.Generation = func(i group.GenerationInfo) {
		h.add(GroupEvent{Group: i.Group, Generation: i.Generation, Members: i.Members, What: fmt.Sprintf("generation %d of %d members, protocol %q, %s", i.Generation, i.Members, i.Protocol, i.State)})
		if host.Generation != nil {
			host.Generation(i)
		}
	}
	e.Assigned = func(i group.AssignedInfo) {
		h.add(GroupEvent{Group: i.Group, Generation: i.Generation, Members: i.Members, What: fmt.Sprintf("generation %d of %d members is assigned, after %s", i.Generation, i.Members, i.Duration)})
		if host.Assigned != nil {
			host.Assigned(i)
		}
	}
	e.MemberRemoved = func(i group.MemberRemovedInfo) {
		h.add(GroupEvent{Group: i.Group, What: fmt.Sprintf("member %q is gone: %s", i.MemberID, i.Reason)})
		if host.MemberRemoved != nil {
			host.MemberRemoved(i)
		}
	}
	e.MemberReplaced = func(i group.MemberReplacedInfo) {
		h.add(GroupEvent{Group: i.Group, What: fmt.Sprintf("static member %q is %q in place of %q", i.InstanceID, i.NewMemberID, i.OldMemberID)})
		if host.MemberReplaced != nil {
			host.MemberReplaced(i)
		}
	}
	e.OffsetsDeleted = func(i group.OffsetsDeletedInfo) {
		h.add(GroupEvent{Group: i.Group, What: "offsets were deleted, or have expired"})
		if host.OffsetsDeleted != nil {
			host.OffsetsDeleted(i)
		}
	}
	return e
}

// GroupHistory returns what has happened to a consumer group, oldest first, of all groups if id is empty; the newest 2048
// events at least. Rebalances, generations, members that are gone: with these the coordinator itself says why.
func (c *Cluster) GroupHistory(id string) (all []GroupEvent) {
	h := &c.history
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		if id == "" || e.Group == id {
			all = append(all, e)
		}
	}
	return all
}
