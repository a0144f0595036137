package quorum

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// RecoverPlan is what Recover would do, for the person who has to decide.
type RecoverPlan struct {
	Self Member `json:"self"`
	Term uint64 `json:"term"`
	Last uint64 `json:"last"` // index of the last entry here: it and all before it will count as committed
	// Doubtful is how many of them were not known to be committed: they may be changes whose proposers were told nothing.
	Doubtful int `json:"doubtful"`
	// Lost are the other voters. What they committed without this one is lost: with an even number of voters, or when this one was
	// the slowest, that may be acknowledged changes.
	Lost      []Member `json:"lost"`
	Observers []Member `json:"observers"` // removed, too
	// Confirmation is what has to be typed.
	Confirmation string `json:"confirmation"`
}

// PlanRecover reads the log of a voter and says what Recover would do. It changes nothing.
func PlanRecover(c Config) (RecoverPlan, error) {
	c = c.withDefaults()
	c.Applied = 0
	log, _, err := readLog(c, true)
	if err != nil {
		return RecoverPlan{}, err
	}
	return log.plan()
}

func (l *raftLog) plan() (RecoverPlan, error) {
	voters, observers, err := l.members()
	if err != nil {
		return RecoverPlan{}, err
	}
	if !slices.Contains(voters, l.self) {
		return RecoverPlan{}, fmt.Errorf("%w: %s is no voter, and may lack what the voters committed", ErrMembership, l.self)
	}
	return RecoverPlan{
		Self: l.self, Term: l.hard.term, Last: l.last(), Doubtful: int(l.last() - l.hard.commit),
		Lost:         slices.DeleteFunc(voters, func(m Member) bool { return m == l.self }),
		Observers:    observers,
		Confirmation: fmt.Sprintf("make %s the only voter at entry %d of term %d", l.self, l.last(), l.hard.term),
	}, nil
}

// members returns those after the last entry.
func (l *raftLog) members() (voters, observers []Member, err error) {
	voters, observers = membersOf(l.snapshot.conf.GetVoters()), membersOf(l.snapshot.conf.GetLearners())
	for _, e := range l.entries[l.snapshot.index-l.before.index:] {
		if e.GetType() == raftpb.EntryNormal {
			continue
		}
		change, err := decodeChange(e)
		if err != nil {
			return nil, nil, err
		}
		same := func(m Member) bool { return m == change.Member }
		voters, observers = slices.DeleteFunc(voters, same), slices.DeleteFunc(observers, same)
		switch change.Op {
		case AddObserver:
			observers = append(observers, change.Member)
		case Promote:
			voters = append(voters, change.Member)
		}
	}
	slices.SortFunc(voters, compareMembers)
	slices.SortFunc(observers, compareMembers)
	return voters, observers, nil
}

// Recover makes a voter the only one of its quorum, when the majority is lost for good. It works on a directory that nobody has
// open, and only with the confirmation that PlanRecover asks for.
//
// Every entry here counts as committed from then on. What the others committed without this one is lost, so the voter with
// the highest last term, and then the most entries, is the one to choose. The others must never run again with what they have:
// their messages are refused, as those of another quorum, but clients that reach them would not know. Their nodes come back by
// Rejoin.
func Recover(c Config, confirmation string) (RecoverPlan, error) {
	c = c.withDefaults()
	c.Applied = 0
	if err := c.validate(); err != nil {
		return RecoverPlan{}, err
	}
	plan, err := PlanRecover(c)
	if err != nil {
		return RecoverPlan{}, err
	}
	if confirmation != plan.Confirmation {
		return plan, fmt.Errorf("%w: the words are %q", ErrConfirmation, plan.Confirmation)
	}
	log, _, err := readLog(c, false)
	if err != nil {
		return plan, err
	}
	if now, err := log.plan(); err != nil || now.Confirmation != plan.Confirmation {
		return plan, errors.Join(fmt.Errorf("%w: the log has changed meanwhile", ErrConfirmation), err, log.close())
	}
	next := log.image
	next.hard = hardState{term: log.hard.term + 1}
	next.entries = slices.Clone(log.entries)
	for _, m := range append(slices.Clone(plan.Lost), plan.Observers...) {
		data, err := proto.Marshal(Change{Op: Remove, Member: m}.raft())
		if err != nil {
			return plan, errors.Join(err, log.close())
		}
		next.entries = append(next.entries, &raftpb.Entry{
			Type: raftpb.EntryConfChange.Enum(), Term: new(next.hard.term), Index: new(log.before.index + uint64(len(next.entries)) + 1), Data: data,
		})
	}
	next.hard.commit = log.before.index + uint64(len(next.entries))
	next.lineage = newLineage(log.lineage)
	if err := log.rebase(next, "recovered: "+plan.Confirmation); err != nil {
		return plan, errors.Join(&StorageError{Op: "write the recovered log", Err: err}, log.close())
	}
	return plan, log.close()
}

// newLineage is one that nobody has had.
func newLineage(old uint64) uint64 {
	var random [16]byte
	_, _ = rand.Read(random[8:]) // never fails
	binary.BigEndian.PutUint64(random[:], old)
	sum := fnv.New64a()
	_, _ = sum.Write(random[:]) // a hash takes everything
	return sum.Sum64() | 1
}
