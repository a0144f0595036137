package simulate_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/simulate"
)

func record(sequence uint64) simulate.Payload {
	return simulate.Payload{Producer: 1, Sequence: sequence, Partition: 0}
}

func value(p simulate.Payload) []byte { return p.Append(nil) }

func found(from int64, ps ...simulate.Payload) (list []simulate.Found) {
	for i, p := range ps {
		list = append(list, simulate.Found{Offset: from + int64(i), Value: value(p)})
	}
	return list
}

// Each checker finds the violation that it is there for, and finds nothing in a history without one.
func TestHistoryFindsWhatIsInjected(t *testing.T) {
	a, b, c := record(0), record(1), record(2)
	inTxn := func(p simulate.Payload) simulate.Payload { p.Txn = 1; return p }
	send := func(h *simulate.History, ps ...simulate.Payload) {
		for _, p := range ps {
			h.Send(p, false)
		}
	}
	for _, story := range []struct {
		name    string
		checker string
		tell    func(h *simulate.History)
	}{
		{"all is well", "", func(h *simulate.History) {
			send(h, a, b, c)
			h.Ack(a, 0)
			h.Ack(b, -1)
			h.Read(1, 0, 0, value(a))
			h.Read(1, 0, 1, value(b))
			h.Rewind(1, 0)
			h.Read(1, 0, 0, value(a))
			h.Final(0, 0, found(0, a, b)) // c was not acknowledged
			h.FinalTransactions()
		}},
		{"an acknowledged record is gone", simulate.LostWrite, func(h *simulate.History) {
			send(h, a, b)
			h.Ack(a, 0)
			h.Ack(b, 1)
			h.Final(0, 0, found(0, a))
		}},
		{"what lies below the start was deleted", "", func(h *simulate.History) {
			send(h, a, b)
			h.Ack(a, 0)
			h.Ack(b, 1)
			h.Final(0, 1, found(1, b))
		}},
		{"a record that was read is gone", simulate.LostRead, func(h *simulate.History) {
			send(h, a)
			h.Read(1, 0, 0, value(a))
			h.Final(0, 0, nil)
		}},
		{"a weak record may be lost and doubled", "", func(h *simulate.History) {
			h.Send(a, true)
			h.Send(b, true)
			h.Ack(a, 0)
			h.Final(0, 0, found(0, b, b))
		}},
		{"two records have one offset", simulate.InconsistentOffset, func(h *simulate.History) {
			send(h, a, b)
			h.Ack(a, 0)
			h.Read(1, 0, 0, value(b))
		}},
		{"a record is there twice", simulate.Duplicate, func(h *simulate.History) {
			send(h, a)
			h.Ack(a, 0)
			h.Final(0, 0, found(0, a, a))
		}},
		{"a record is read elsewhere", simulate.Duplicate, func(h *simulate.History) {
			send(h, a)
			h.Ack(a, 0)
			h.Read(1, 0, 7, value(a))
		}},
		{"a producer's records are in another order", simulate.Misordered, func(h *simulate.History) {
			send(h, a, b)
			h.Final(0, 0, found(0, b, a))
		}},
		{"a record nobody sent", simulate.Phantom, func(h *simulate.History) { h.Read(1, 0, 0, value(a)) }},
		{"an acknowledgement nobody asked for", simulate.Phantom, func(h *simulate.History) { h.Ack(a, 0) }},
		{"a record of another partition", simulate.Phantom, func(h *simulate.History) {
			send(h, simulate.Payload{Producer: 1, Partition: 1})
			h.Read(1, 0, 0, value(simulate.Payload{Producer: 1, Partition: 1}))
		}},
		{"damaged bytes", simulate.Phantom, func(h *simulate.History) {
			send(h, a)
			v := value(a)
			v[3]++
			h.Final(0, 0, []simulate.Found{{Value: v}})
		}},
		{"a refused record is read", simulate.RefusedRead, func(h *simulate.History) {
			send(h, a)
			h.Refuse(a)
			h.Read(1, 0, 0, value(a))
		}},
		{"a record that was read is refused", simulate.RefusedRead, func(h *simulate.History) {
			send(h, a)
			h.Read(1, 0, 0, value(a))
			h.Refuse(a)
		}},
		{"a refused record is there in the end", simulate.RefusedRead, func(h *simulate.History) {
			send(h, a)
			h.Refuse(a)
			h.Final(0, 0, found(0, a))
		}},
		{"a reader goes back", simulate.Nonmonotonic, func(h *simulate.History) {
			send(h, a, b)
			h.Read(1, 0, 1, value(b))
			h.Read(1, 0, 0, value(a))
		}},
		{"the end goes back", simulate.Nonmonotonic, func(h *simulate.History) {
			send(h, a, b)
			h.Final(0, 0, []simulate.Found{{Offset: 1, Value: value(a)}, {Offset: 0, Value: value(b)}})
		}},
		{"a reader leaves a record out", simulate.Skipped, func(h *simulate.History) {
			send(h, a, b)
			h.Ack(a, 0)
			h.Ack(b, 1)
			h.Covered(1, 0, 0, 2, func(o int64) bool { return o == 1 })
		}},
		{"a transaction is whole", "", func(h *simulate.History) {
			send(h, inTxn(a), inTxn(b))
			h.Ack(inTxn(a), 0)
			h.Ack(inTxn(b), 1)
			h.End(1, 1, simulate.Committed)
			h.Final(0, 0, found(0, inTxn(a), inTxn(b)))
			h.FinalTransactions()
		}},
		{"a committed transaction is torn", simulate.TornTransaction, func(h *simulate.History) {
			send(h, inTxn(a), inTxn(b))
			h.Ack(inTxn(a), 0)
			h.Ack(inTxn(b), 1)
			h.End(1, 1, simulate.Committed)
			h.Final(0, 0, found(0, inTxn(a)))
			h.FinalTransactions()
		}},
		{"one of unknown outcome is torn", simulate.TornTransaction, func(h *simulate.History) {
			send(h, inTxn(a), inTxn(b))
			h.Ack(inTxn(a), 0)
			h.Ack(inTxn(b), 1)
			h.Final(0, 0, found(0, inTxn(a)))
			h.FinalTransactions()
		}},
		{"one of unknown outcome is gone", "", func(h *simulate.History) {
			send(h, inTxn(a))
			h.Ack(inTxn(a), 0)
			h.Final(0, 0, nil)
			h.FinalTransactions()
		}},
		{"of an aborted one a record is there", simulate.RefusedRead, func(h *simulate.History) {
			send(h, inTxn(a))
			h.End(1, 1, simulate.Aborted)
			h.Final(0, 0, found(0, inTxn(a)))
			h.FinalTransactions()
		}},
		{"of an aborted one a record is read", simulate.RefusedRead, func(h *simulate.History) {
			send(h, inTxn(a))
			h.End(1, 1, simulate.Aborted)
			h.Read(1, 0, 0, value(inTxn(a)))
		}},
	} {
		t.Run(story.name, func(t *testing.T) {
			f := simulate.NewFindings(simulate.NewScheduler(1))
			story.tell(simulate.NewHistory(2, f))
			requireFound(t, f, story.checker)
		})
	}
}

func requireFound(t *testing.T, f *simulate.Findings, checker string) {
	if checker == "" {
		require.Nil(t, f.First())
		return
	}
	require.NotNil(t, f.First())
	require.Equal(t, checker, f.First().Checker, f.First())
	require.Contains(t, f.First().Error(), checker)
	require.Positive(t, f.Len())
}

func TestReplicasFindWhatIsInjected(t *testing.T) {
	one, two := simulate.Batch{Base: 0, Last: 4, Epoch: 1, CRC: 11}, simulate.Batch{Base: 5, Last: 5, Epoch: 1, CRC: 12}
	other := simulate.Batch{Base: 5, Last: 5, Epoch: 2, CRC: 13}
	log := func(list ...simulate.Batch) simulate.Batches {
		return func(from, to int64) (out []simulate.Batch, readable bool) {
			for _, b := range list {
				if b.Last >= from && b.Base < to {
					out = append(out, b)
				}
			}
			return out, true
		}
	}
	unreadable := func(from, to int64) ([]simulate.Batch, bool) { return nil, false }
	for _, story := range []struct {
		name    string
		checker string
		tell    func(r *simulate.Replicas)
	}{
		{"all is well", "", func(r *simulate.Replicas) {
			r.Leads(0, 1, 1)
			r.Leads(0, 1, 1)
			r.Leads(0, 2, 2)
			r.Mark(0, 1, 1, 5, 6, log(one, two))
			r.Mark(0, 1, 1, 6, 6, log(one, two))
			r.Mark(0, 2, 2, 5, 6, log(one, two)) // behind, as a new leader's may be
			r.Holds(0, 3, 0, 6, simulate.Ever, true, "a test", log(one, two))
			r.ISR(0, 1, []int{1, 2, 3}, []int{2, 1}, []int{3})
			r.ISR(0, -1, []int{1, 2, 3}, nil, []int{3})
		}},
		{"two lead in an epoch", simulate.TwoLeaders, func(r *simulate.Replicas) {
			r.Leads(0, 1, 1)
			r.Leads(0, 2, 1)
		}},
		{"the high watermark goes back", simulate.HighWatermark, func(r *simulate.Replicas) {
			r.Mark(0, 1, 1, 6, 6, log(one, two))
			r.Mark(0, 1, 1, 5, 6, log(one, two))
		}},
		{"the high watermark is beyond the log", simulate.HighWatermark, func(r *simulate.Replicas) { r.Mark(0, 1, 1, 6, 5, log(one)) }},
		{"a replica is short", simulate.Incomplete, func(r *simulate.Replicas) {
			r.Mark(0, 1, 1, 6, 6, log(one, two))
			r.Holds(0, 2, 0, 5, simulate.Ever, false, "a test", log(one))
		}},
		{"what a later leader committed an earlier one need not have", "", func(r *simulate.Replicas) {
			r.Mark(0, 1, 3, 5, 5, log(one))
			r.Mark(0, 2, 4, 6, 6, log(one, two))
			r.Holds(0, 3, 0, 5, 4, false, "a test", log(one))
		}},
		{"what an earlier leader committed a later one must have", simulate.Incomplete, func(r *simulate.Replicas) {
			r.Mark(0, 1, 3, 6, 6, log(one, two))
			r.Holds(0, 3, 0, 5, 4, false, "a test", log(one))
		}},
		{"a replica has something else", simulate.Diverged, func(r *simulate.Replicas) {
			r.Mark(0, 1, 1, 6, 6, log(one, two))
			r.Holds(0, 2, 0, 6, simulate.Ever, false, "a test", log(one, other))
		}},
		{"a replica has something else further back", simulate.Diverged, func(r *simulate.Replicas) {
			r.Mark(0, 1, 1, 6, 6, log(one, two))
			damaged := one
			damaged.CRC++
			r.Holds(0, 2, 0, 6, simulate.Ever, true, "a test", log(damaged, two))
		}},
		{"what was deleted need not be there", "", func(r *simulate.Replicas) {
			r.Mark(0, 1, 1, 6, 6, log(one, two))
			r.Holds(0, 2, 5, 6, simulate.Ever, true, "a test", log(two))
			r.Holds(0, 2, 6, 6, simulate.Ever, true, "a test", log())
		}},
		{"a new leader commits into the middle of a batch", simulate.Diverged, func(r *simulate.Replicas) {
			r.Mark(0, 1, 1, 5, 5, log(one))
			r.Mark(0, 2, 2, 7, 7, log(simulate.Batch{Base: 3, Last: 6, Epoch: 2}))
		}},
		{"who cannot be read is not accused", "", func(r *simulate.Replicas) {
			r.Mark(0, 1, 1, 6, 6, log(one, two))
			r.Mark(0, 1, 1, 7, 7, unreadable)
			r.Holds(0, 2, 0, 6, simulate.Ever, true, "a test", unreadable)
		}},
		{"what was cut is not asked for", "", func(r *simulate.Replicas) {
			r.Mark(0, 1, 1, 6, 6, log(one, two))
			r.Cut(0, 2, 5)
			r.Holds(0, 2, 0, 6, simulate.Ever, true, "a test", log(one, other))
		}},
		{"what a leader of before the cut commits does not count", "", func(r *simulate.Replicas) {
			r.Mark(0, 1, 1, 5, 5, log(one))
			r.Cut(0, 2, 5)
			r.Mark(0, 1, 1, 6, 6, log(one, two))
			r.Holds(0, 2, 0, 6, simulate.Ever, true, "a test", log(one, other))
		}},
		{"what is committed after the cut counts", simulate.Diverged, func(r *simulate.Replicas) {
			r.Mark(0, 1, 1, 6, 6, log(one, two))
			r.Cut(0, 2, 5)
			r.Mark(0, 2, 2, 6, 6, log(one, other))
			r.Holds(0, 1, 0, 6, simulate.Ever, true, "a test", log(one, two))
		}},
		{"the ISR has a stranger", simulate.BadISR, func(r *simulate.Replicas) { r.ISR(0, 1, []int{1, 2}, []int{1, 3}, nil) }},
		{"the ISR has a node twice", simulate.BadISR, func(r *simulate.Replicas) { r.ISR(0, 1, []int{1, 2}, []int{1, 1}, nil) }},
		{"one is in ISR and ELR", simulate.BadISR, func(r *simulate.Replicas) { r.ISR(0, 1, []int{1, 2}, []int{1, 2}, []int{2}) }},
		{"the leader is not in the ISR", simulate.BadISR, func(r *simulate.Replicas) { r.ISR(0, 2, []int{1, 2}, []int{1}, nil) }},
	} {
		t.Run(story.name, func(t *testing.T) {
			f := simulate.NewFindings(simulate.NewScheduler(1))
			story.tell(simulate.NewReplicas(1, f))
			requireFound(t, f, story.checker)
		})
	}
}

func TestOffsetsFindThatACommitWasLost(t *testing.T) {
	f := simulate.NewFindings(simulate.NewScheduler(1))
	o := simulate.NewOffsets(f)
	o.Fetched(1, 0, -1, o.Acked(1, 0))
	o.Ack(1, 0, 5, 1)
	before := o.Acked(1, 0)
	o.Ack(1, 0, 7, 1)
	o.Fetched(1, 0, 5, before) // asked for before 7 was acknowledged
	requireFound(t, f, "")
	late := o.Sent(1, 0, 5, 1)
	o.Fetched(1, 0, 5, o.Acked(1, 0)) // it may have arrived behind 7
	o.Ack(1, 0, 9, 2)
	o.Ack(1, 0, 6, 1) // was carried out before
	requireFound(t, f, "")
	require.EqualValues(t, 9, o.Acked(1, 0))
	o.Fetched(1, 0, 5, o.Acked(1, 0)) // by now somebody else has the partition
	requireFound(t, f, simulate.OffsetLost)
	late()
}

// A partition has one owner in a generation, and who had it in an earlier one cannot commit any more.
func TestOwnershipFindsTwoOwnersAndStaleCommits(t *testing.T) {
	f := simulate.NewFindings(simulate.NewScheduler(1))
	o := simulate.NewOwnership(f)
	o.Owns(1, 0, 1, "a")
	o.Owns(1, 0, 1, "a")
	o.Owns(1, 1, 1, "b")
	sent := o.Outdated(1, 0, 1)
	o.Owns(1, 0, 2, "b")
	o.Committed(1, 0, 1, "a", sent) // was on its way
	requireFound(t, f, "")
	o.Committed(1, 0, 1, "a", o.Outdated(1, 0, 1))
	requireFound(t, f, simulate.StaleCommit)
	f = simulate.NewFindings(simulate.NewScheduler(1))
	o = simulate.NewOwnership(f)
	o.Owns(1, 0, 3, "a")
	o.Owns(1, 0, 3, "b")
	requireFound(t, f, simulate.TwoOwners)
}

// Common is where a log ceases to have what was committed.
func TestCommonIsUpToTheFirstDifference(t *testing.T) {
	one, two := simulate.Batch{Base: 0, Last: 4, Epoch: 1, CRC: 1}, simulate.Batch{Base: 5, Last: 5, Epoch: 1, CRC: 2}
	other := simulate.Batch{Base: 5, Last: 5, Epoch: 2, CRC: 3}
	log := func(list ...simulate.Batch) simulate.Batches {
		return func(int64, int64) ([]simulate.Batch, bool) { return list, true }
	}
	r := simulate.NewReplicas(1, simulate.NewFindings(simulate.NewScheduler(1)))
	require.Zero(t, r.Common(0, 0, 6, log(one, two)))
	r.Mark(0, 1, 1, 6, 6, log(one, two))
	require.EqualValues(t, 6, r.Common(0, 0, 6, log(one, two)))
	require.EqualValues(t, 5, r.Common(0, 0, 6, log(one, other)))
	require.EqualValues(t, 5, r.Common(0, 0, 5, log(one)))
	require.EqualValues(t, 0, r.Common(0, 0, 0, log()))
	require.EqualValues(t, 6, r.Common(0, 5, 6, log(two)), "the beginning was deleted")
}

// Where an unclean election is allowed, what was acknowledged may be lost, once it has been, and is counted; what nobody wrote, or what is there twice, is found all the same.
func TestLossIsAllowedWhereUncleanElectionsAre(t *testing.T) {
	f := simulate.NewFindings(simulate.NewScheduler(1))
	h := simulate.NewHistory(1, f)
	var p [3]simulate.Payload
	for i := range p {
		p[i] = simulate.Payload{Producer: 1, Sequence: uint64(i)}
		h.Send(p[i], false)
	}
	h.Ack(p[0], 0)
	h.Ack(p[1], 1)
	h.Allow(0)
	require.Equal(t, 1, h.Lose(0, 1))
	h.Ack(p[2], 1) // where the lost one was
	h.Final(0, 0, []simulate.Found{{Offset: 0, Value: p[0].Append(nil)}, {Offset: 1, Value: p[2].Append(nil)}})
	requireFound(t, f, "")
	told, untold := h.Lost()
	require.Equal(t, 1, told)
	require.Zero(t, untold)
	h.Final(0, 0, []simulate.Found{{Offset: 0, Value: p[0].Append(nil)}, {Offset: 1, Value: p[0].Append(nil)}})
	requireFound(t, f, simulate.Duplicate)
}

func TestPayloadIsReadAsItWasWritten(t *testing.T) {
	p := simulate.Payload{Producer: 1, Sequence: 2, Partition: 3, Txn: 4}
	b := p.Append([]byte("x"))[1:]
	got, err := simulate.ParsePayload(b)
	require.NoError(t, err)
	require.Equal(t, p, got)
	for i := range b {
		b[i]++
		_, err := simulate.ParsePayload(b)
		require.ErrorIs(t, err, simulate.ErrPayload)
		b[i]--
	}
	_, err = simulate.ParsePayload(b[:3])
	require.ErrorIs(t, err, simulate.ErrPayload)
}

func TestCountsAreListedByName(t *testing.T) {
	var a, b simulate.Counts
	a.Add("two", 2)
	a.Add("none", 0)
	b.Add("one", 1)
	b.AddAll(&a)
	require.Equal(t, "one 1, two 2", b.String())
	require.EqualValues(t, 3, b.Total())
	require.Zero(t, b.Of("none"))
}
