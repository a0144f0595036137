package main

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/batch"
)

// transactions compares the calls of transactions, in every version.
func (r *run) transactions() {
	g := func(name string) string { return name }
	initp := func(id *string, pid int64, epoch int16, ms int32) *kmsg.InitProducerIDRequest {
		return &kmsg.InitProducerIDRequest{TransactionalID: id, TransactionTimeoutMillis: ms, ProducerID: pid, ProducerEpoch: epoch}
	}
	take := func(s *side, key string, r kmsg.Response) kmsg.Response {
		x := r.(*kmsg.InitProducerIDResponse)
		if x.ErrorCode == 0 {
			s.producer[key], s.epoch[key] = x.ProducerID, x.ProducerEpoch
		}
		return r
	}
	for v := int16(0); v <= 5; v++ {
		id := g(fmt.Sprint("x", v))
		name := func(what string) string { return fmt.Sprint("txn ", v, " ", what) }
		r.both(name("idempotent"), func(s *side) kmsg.Response { return s.ask(v, initp(nil, -1, -1, 0)) })
		r.both(name("empty id"), func(s *side) kmsg.Response { return s.ask(v, initp(p(""), -1, -1, 1000)) })
		for _, ms := range []int32{-1, 0, 900000, 900001} {
			r.both(name(fmt.Sprint("timeout ", ms)), func(s *side) kmsg.Response { return s.ask(v, initp(p(g("timeout")), -1, -1, ms)) })
		}
		if v >= 3 {
			r.both(name("half"), func(s *side) kmsg.Response { return s.ask(v, initp(&id, 5, -1, 1000)) })
			r.both(name("half"), func(s *side) kmsg.Response { return s.ask(v, initp(&id, -1, 5, 1000)) })
			r.both(name("foreign"), func(s *side) kmsg.Response { return s.ask(v, initp(p(g("foreign")), 5, 5, 1000)) })
		}
		r.both(name("init"), func(s *side) kmsg.Response { return take(s, id, s.ask(v, initp(&id, -1, -1, 900000))) })
		r.both(name("init again"), func(s *side) kmsg.Response { return take(s, id, s.ask(v, initp(&id, -1, -1, 900000))) })
		if v >= 3 {
			r.both(name("continue"), func(s *side) kmsg.Response {
				return take(s, id, s.ask(v, initp(&id, s.producer[id], s.epoch[id], 900000)))
			})
			r.both(name("old epoch"), func(s *side) kmsg.Response {
				return s.ask(v, initp(&id, s.producer[id], s.epoch[id]-2, 900000))
			})
			r.both(name("other pid"), func(s *side) kmsg.Response {
				return s.ask(v, initp(&id, s.producer[id]+50, s.epoch[id], 900000))
			})
		}
		add := func(s *side, id string, pid int64, epoch int16, topics ...string) *kmsg.AddPartitionsToTxnRequest {
			r := &kmsg.AddPartitionsToTxnRequest{TransactionalID: id, ProducerID: pid, ProducerEpoch: epoch}
			x := kmsg.AddPartitionsToTxnRequestTransaction{TransactionalID: id, ProducerID: pid, ProducerEpoch: epoch}
			for _, t := range topics {
				r.Topics = append(r.Topics, kmsg.AddPartitionsToTxnRequestTopic{Topic: t, Partitions: []int32{0, 1}})
				x.Topics = append(x.Topics, kmsg.AddPartitionsToTxnRequestTransactionTopic{Topic: t, Partitions: []int32{0, 1}})
			}
			r.Transactions = append(r.Transactions, x)
			return r
		}
		for _, c := range []bool{true, false} {
			r.both(name(fmt.Sprint("end nothing ", c)), func(s *side) kmsg.Response {
				r := s.ask(v, end(id, s.producer[id], s.epoch[id], c)).(*kmsg.EndTxnResponse)
				if v == 5 && r.ErrorCode == 0 {
					s.producer[id], s.epoch[id] = r.ProducerID, r.ProducerEpoch
					s.ended(id, c)
				}
				return r
			})
			r.both(name(fmt.Sprint("end unknown ", c)), func(s *side) kmsg.Response { return s.ask(v, end(g("none"), 1, 1, c)) })
			r.both(name(fmt.Sprint("end empty ", c)), func(s *side) kmsg.Response { return s.ask(v, end("", 1, 1, c)) })
			r.both(name(fmt.Sprint("end old epoch ", c)), func(s *side) kmsg.Response { return s.ask(v, end(id, s.producer[id], s.epoch[id]-1, c)) })
			r.both(name(fmt.Sprint("end new epoch ", c)), func(s *side) kmsg.Response { return s.ask(v, end(id, s.producer[id], s.epoch[id]+1, c)) })
			r.both(name(fmt.Sprint("end other pid ", c)), func(s *side) kmsg.Response { return s.ask(v, end(id, s.producer[id]+100, s.epoch[id], c)) })
		}
		av := min(v, 3)
		r.both(name("add nope"), func(s *side) kmsg.Response { return s.ask(av, add(s, id, s.producer[id], s.epoch[id], "t", "nope")) })
		r.both(name("add internal"), func(s *side) kmsg.Response {
			return s.ask(av, add(s, id, s.producer[id], s.epoch[id], "__consumer_offsets"))
		})
		r.both(name("add empty id"), func(s *side) kmsg.Response { return s.ask(av, add(s, "", 1, 1, "t")) })
		r.both(name("add unknown"), func(s *side) kmsg.Response { return s.ask(av, add(s, g("none"), 1, 1, "t")) })
		r.both(name("add old epoch"), func(s *side) kmsg.Response { return s.ask(av, add(s, id, s.producer[id], s.epoch[id]-1, "t")) })
		r.both(name("add other pid"), func(s *side) kmsg.Response { return s.ask(av, add(s, id, s.producer[id]+100, s.epoch[id], "t")) })
		tcommit := func(s *side, tv int16, member string, gen int32, epoch int16) *kmsg.TxnOffsetCommitRequest {
			r := kmsg.NewPtrTxnOffsetCommitRequest()
			r.TransactionalID, r.Group, r.ProducerID, r.ProducerEpoch, r.MemberID, r.Generation = id, g("tg"+fmt.Sprint(v)), s.producer[id], epoch, member, gen
			for _, n := range []string{"nope", "t"} {
				t := kmsg.NewTxnOffsetCommitRequestTopic()
				t.Topic = n
				one := kmsg.NewTxnOffsetCommitRequestTopicPartition()
				one.Offset = 7
				t.Partitions = append(t.Partitions, one)
				r.Topics = append(r.Topics, t)
			}
			return r
		}
		if v < 5 {
			r.both(name("txn commit not added"), func(s *side) kmsg.Response { return s.ask(v, tcommit(s, v, "", -1, s.epoch[id])) })
			r.both(name("add offsets unknown"), func(s *side) kmsg.Response {
				return s.ask(v, &kmsg.AddOffsetsToTxnRequest{TransactionalID: g("none"), ProducerID: 1, ProducerEpoch: 1, Group: "g"})
			})
			r.both(name("add offsets old"), func(s *side) kmsg.Response {
				return s.ask(v, &kmsg.AddOffsetsToTxnRequest{TransactionalID: id, ProducerID: s.producer[id], ProducerEpoch: s.epoch[id] - 1, Group: "g"})
			})
			r.both(name("add offsets empty"), func(s *side) kmsg.Response {
				return s.ask(v, &kmsg.AddOffsetsToTxnRequest{TransactionalID: "", ProducerID: 1, ProducerEpoch: 1, Group: "g"})
			})
			r.both(name("add"), func(s *side) kmsg.Response { return s.ask(av, add(s, id, s.producer[id], s.epoch[id], "t")) })
			r.both(name("add offsets"), func(s *side) kmsg.Response {
				return s.ask(v, &kmsg.AddOffsetsToTxnRequest{TransactionalID: id, ProducerID: s.producer[id], ProducerEpoch: s.epoch[id], Group: g("tg" + fmt.Sprint(v))})
			})
		}
		r.both(name("txn commit unknown member"), func(s *side) kmsg.Response { return s.ask(v, tcommit(s, v, "m", 3, s.epoch[id])) })
		r.both(name("txn commit old epoch"), func(s *side) kmsg.Response { return s.ask(v, tcommit(s, v, "", -1, s.epoch[id]-1)) })
		r.both(name("txn commit"), func(s *side) kmsg.Response { return s.ask(v, tcommit(s, v, "", -1, s.epoch[id])) })
		r.read(name("describe ongoing"), func(s *side) kmsg.Response {
			return s.ask(0, &kmsg.DescribeTransactionsRequest{TransactionalIDs: []string{id, g("none"), ""}})
		})
		r.read(name("unstable"), func(s *side) kmsg.Response {
			r := kmsg.NewPtrOffsetFetchRequest()
			gr := kmsg.NewOffsetFetchRequestGroup()
			gr.Group = g("tg" + fmt.Sprint(v))
			gr.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", Partitions: []int32{0, 1}}}
			r.Groups, r.RequireStable = append(r.Groups, gr), true
			r.Group, r.Topics = gr.Group, []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{0, 1}}}
			return s.ask(highest(9, 9), r)
		})
		r.read(name("describe group of txn"), func(s *side) kmsg.Response {
			return s.ask(highest(15, 6), &kmsg.DescribeGroupsRequest{Groups: []string{g("tg" + fmt.Sprint(v))}})
		})
		// produce to what was added and to what was not
		for _, part := range []int32{0, 2} {
			pv := min(int16(7)+v, 11)
			if v == 5 {
				pv = 12
			}
			r.both(name(fmt.Sprint("produce ", pv, " to ", part)), func(s *side) kmsg.Response {
				var w batch.Builder
				w.Reset(nil, batch.Options{Transactional: true, ProducerID: s.producer[id], Epoch: s.epoch[id], BaseSequence: 0})
				w.Append(1_000_000_000_000, nil, []byte("x"), nil)
				b, _ := w.Finish()
				r := kmsg.NewPtrProduceRequest()
				r.TransactionID, r.Acks, r.TimeoutMillis = &id, -1, 5000
				rt := kmsg.NewProduceRequestTopic()
				rt.Topic = "t"
				rp := kmsg.NewProduceRequestTopicPartition()
				rp.Partition, rp.Records = part, b
				rt.Partitions = append(rt.Partitions, rp)
				r.Topics = append(r.Topics, rt)
				resp := s.ask(pv, r).(*kmsg.ProduceResponse)
				resp.Topics[0].Partitions[0].BaseOffset = 0
				return resp
			})
		}
		r.read(name("producers"), func(s *side) kmsg.Response {
			resp := s.ask(0, &kmsg.DescribeProducersRequest{Topics: []kmsg.DescribeProducersRequestTopic{{Topic: "t", Partitions: []int32{0, 9}}, {Topic: "nope", Partitions: []int32{0}}, {Topic: "bad name", Partitions: []int32{0}}}}).(*kmsg.DescribeProducersResponse)
			ps := &resp.Topics[0].Partitions[0].ActiveProducers
			var keep []kmsg.DescribeProducersResponseTopicPartitionActiveProducer
			for _, x := range *ps {
				if x.ProducerID == s.producer[id] {
					x.CurrentTxnStartOffset = min(x.CurrentTxnStartOffset, 0)
					keep = append(keep, x)
				}
			}
			*ps = keep
			return resp
		})
		for lv := int16(0); lv <= 2; lv++ {
			for _, st := range [][]string{nil, {"Ongoing", "Nope"}, {"Nope"}, {"ongoing"}} {
				r.read(name(fmt.Sprint("list ", lv, st)), func(s *side) kmsg.Response {
					r := kmsg.NewPtrListTransactionsRequest()
					r.StateFilters, r.ProducerIDFilters = st, []int64{s.producer[id]}
					return s.ask(lv, r)
				})
			}
			for _, d := range []int64{0, 3600000} {
				r.read(name(fmt.Sprint("list duration", lv, d)), func(s *side) kmsg.Response {
					r := kmsg.NewPtrListTransactionsRequest()
					r.ProducerIDFilters, r.DurationFilterMillis = []int64{s.producer[id]}, d
					pat := id[:1] + ".*"
					r.TransactionalIDPattern = &pat
					return s.ask(lv, r)
				})
			}
		}
		if v == 2 {
			r.both(name("bad pattern"), func(s *side) kmsg.Response {
				bad := "("
				r := kmsg.NewPtrListTransactionsRequest()
				r.TransactionalIDPattern = &bad
				return s.ask(2, r)
			})
		}
		r.both(name("verify refused"), func(s *side) kmsg.Response {
			r := add(s, id, s.producer[id], s.epoch[id], "t", "u")
			r.Transactions[0].VerifyOnly = true
			return s.ask(4+v%2, r)
		})
		commit := v%2 == 0
		r.both(name("end"), func(s *side) kmsg.Response {
			r := s.ask(v, end(id, s.producer[id], s.epoch[id], commit)).(*kmsg.EndTxnResponse)
			s.ended(id, commit)
			return r
		})
		r.both(name("end again"), func(s *side) kmsg.Response { return s.ask(v, end(id, s.producer[id], s.epoch[id], commit)) })
		r.both(name("end otherwise"), func(s *side) kmsg.Response { return s.ask(v, end(id, s.producer[id], s.epoch[id], !commit)) })
		r.read(name("describe ended"), func(s *side) kmsg.Response {
			return s.ask(0, &kmsg.DescribeTransactionsRequest{TransactionalIDs: []string{id}})
		})
		r.read(name("list ended by duration"), func(s *side) kmsg.Response {
			r := kmsg.NewPtrListTransactionsRequest()
			r.ProducerIDFilters, r.DurationFilterMillis = []int64{s.producer[id]}, 0
			return s.ask(1, r)
		})
		r.read(name("committed"), func(s *side) kmsg.Response {
			r := kmsg.NewPtrOffsetFetchRequest()
			gr := kmsg.NewOffsetFetchRequestGroup()
			gr.Group = g("tg" + fmt.Sprint(v))
			r.Groups, r.RequireStable = append(r.Groups, gr), true
			r.Group, r.Topics = gr.Group, nil
			return s.ask(highest(9, 9), r)
		})
	}
}

func end(id string, pid int64, epoch int16, commit bool) *kmsg.EndTxnRequest {
	return &kmsg.EndTxnRequest{TransactionalID: id, ProducerID: pid, ProducerEpoch: epoch, Commit: commit}
}

// ended waits for the end of what EndTxn has begun: Kafka answers when that is written down, before the markers are.
func (s *side) ended(id string, commit bool) {
	s.until("end of the transaction of "+id, func() bool {
		if old28() { // it does not describe transactions; to end it again is refused until it has ended
			resp, ok := s.ask(2, end(id, s.producer[id], s.epoch[id], commit)).(*kmsg.EndTxnResponse)
			return ok && resp.ErrorCode != concurrentTransactions
		}
		resp, ok := s.ask(0, &kmsg.DescribeTransactionsRequest{TransactionalIDs: []string{id}}).(*kmsg.DescribeTransactionsResponse)
		return ok && !strings.HasPrefix(resp.TransactionStates[0].State, "Prepare")
	})
}
