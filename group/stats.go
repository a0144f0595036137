package group

import "time"

// Stats is a snapshot of a coordinator's counters since it started, and of what it holds. Kafka's names of the figures
// that tell of its health are in brackets.
//
// Kafka's coordinator has a queue of requests and threads that empty it. This one has neither: a request is stepped on its
// caller's goroutine, as soon as its partition is loaded. So nothing stands for thread-idle-ratio-avg, and what can make a
// request wait is a load (LoadTime), a writer that is busy with the batch before (Queued, QueueTime) and the log (AppendTime).
type Stats struct {
	Groups       map[State]int     // of the loaded groups
	Types        map[GroupType]int // of the loaded groups
	Members      int
	LocalMembers int
	Offsets      int // committed partitions in memory
	Unwritten    int // of these, waiting for space on the disk
	Pending      int // offsets in transactions that have not ended
	Waiting      int // requests without an answer yet, such as joins in a rebalance
	Queued       int // pieces of work that wait for a writer of the offsets topic (event-queue-size)
	Loading      int // partitions of the offsets topic that are being read (num-partitions, state=loading)
	Active       int // partitions of the offsets topic that have been (num-partitions, state=active)

	Rebalances       uint64        // begun
	Generations      uint64        // completed
	Assignments      uint64        // written: rebalances that have ended with members
	RebalanceTime    time.Duration // of those, from the reason to the assignment in the log
	MaxRebalanceTime time.Duration
	RemovedMembers   uint64 // left or expelled
	Replacements     uint64 // static members that came back
	Commits          uint64 // requests, failed ones included
	FailedCommits    uint64
	CommitTime       time.Duration // of all commits, from the request to the answer
	MaxCommitTime    time.Duration
	DroppedOffsets   uint64 // with their topic
	ExpiredOffsets   uint64
	DeletedOffsets   uint64 // on request, those of deleted groups included
	DeletedGroups    uint64 // on request or with their last offset

	Appends       uint64 // batches written to the offsets topic
	Records       uint64 // records in them
	FailedAppends uint64
	AppendTime    time.Duration // spent in them, failed ones included (most of event-processing-time-ms)
	QueueTime     time.Duration // in Queued, of all pieces of work (event-queue-time-ms)
	MaxQueueTime  time.Duration // of one

	LoadedPartitions uint64
	LoadedRecords    uint64
	SkippedRecords   uint64        // of unknown types, and unreadable ones
	CorruptRanges    uint64        // of the log, which were passed over
	LoadTime         time.Duration // of all loads (partition-load-time-avg)
	MaxLoadTime      time.Duration // of one (partition-load-time-max)
}

func (s *Stats) count(info any) {
	switch i := info.(type) {
	case RebalanceInfo:
		s.Rebalances++
	case GenerationInfo:
		s.Generations++
	case AssignedInfo:
		s.Assignments++
		s.RebalanceTime += i.Duration
		s.MaxRebalanceTime = max(s.MaxRebalanceTime, i.Duration)
	case MemberRemovedInfo:
		s.RemovedMembers++
	case MemberReplacedInfo:
		s.Replacements++
	case LoadedInfo:
		s.LoadedPartitions++
		s.LoadedRecords += uint64(i.Records)
		s.SkippedRecords += uint64(i.Skipped)
		s.CorruptRanges += uint64(i.CorruptRanges)
		s.LoadTime += i.Duration
		s.MaxLoadTime = max(s.MaxLoadTime, i.Duration)
	case WriteFailedInfo:
		s.FailedAppends++
	case OffsetsDeletedInfo:
		switch {
		case i.Expired:
			s.ExpiredOffsets += uint64(i.Partitions)
		default:
			s.DeletedOffsets += uint64(i.Partitions)
		}
		if i.WholeGroup {
			s.DeletedGroups++
		}
	case OffsetsDroppedInfo:
		s.DroppedOffsets += uint64(i.Partitions)
	}
}

// Stats implements Coordinators.
func (c *coordinator) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Groups, s.Types = make(map[State]int), make(map[GroupType]int)
	s.Waiting = len(c.calls)
	for _, p := range c.partitions {
		s.Queued += len(p.queue)
		select {
		case <-p.ready:
			s.Active++
		default:
			s.Loading++
		}
	}
	for g := range c.groupsLocked() {
		s.Groups[g.state]++
		s.Types[g.listing().Type]++
		for _, offsets := range g.awaited {
			s.Pending += len(offsets)
		}
		s.Members += len(g.members)
		if g.next != nil {
			s.Members += len(g.next.live.members)
			for _, m := range g.next.live.members {
				if g.isHere(m) {
					s.LocalMembers++
				}
			}
		}
		for _, m := range g.members {
			if m.local {
				s.LocalMembers++
			}
		}
		s.Offsets += len(g.machine.offsets)
		s.Unwritten += len(g.unwritten)
	}
	return s
}

// tell calls the function that an info is for.
func (e *Events) tell(info any) {
	switch i := info.(type) {
	case RebalanceInfo:
		call(e.Rebalance, i)
	case GenerationInfo:
		call(e.Generation, i)
	case AssignedInfo:
		call(e.Assigned, i)
	case MemberRemovedInfo:
		call(e.MemberRemoved, i)
	case MemberReplacedInfo:
		call(e.MemberReplaced, i)
	case LoadedInfo:
		call(e.Loaded, i)
	case WriteFailedInfo:
		call(e.WriteFailed, i)
	case ReadFailedInfo:
		call(e.ReadFailed, i)
	case CorruptInfo:
		call(e.Corrupt, i)
	case OffsetsDeletedInfo:
		call(e.OffsetsDeleted, i)
	case OffsetsDroppedInfo:
		call(e.OffsetsDropped, i)
	}
}

func call[T any](f func(T), info T) {
	if f != nil {
		f(info)
	}
}
