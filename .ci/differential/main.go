// Differential sends the same requests, many of them drawn from a seed, to an Apache Kafka broker and to ours, over raw
// connections, and compares the answers field by field, null against empty too. What may differ is in allowed.go, and each
// entry there is one of kafka/DIFFERENCES.md, where its reason is; anything else fails, and both answers are printed.
//
//	go run .ci/differential/*.go -kafka HOST:PORT -partlog HOST:PORT -seed 1 -requests 500 -differences kafka/DIFFERENCES.md
//
// Both are one fresh node with id 1 that does not create topics by itself.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func main() {
	theirs := flag.String("kafka", "", "address of an Apache Kafka broker")
	ours := flag.String("partlog", "", "address of our broker")
	theirSASL := flag.String("kafka-sasl", "", "address of Kafka's listener that asks for SASL")
	ourSASL := flag.String("partlog-sasl", "", "address of ours")
	seed := flag.Uint64("seed", 1, "of the random requests")
	n := flag.Int("requests", 500, "how many random requests")
	flag.DurationVar(&slow, "slow", slow, "how long a broker may take for an answer")
	flag.DurationVar(&patience, "patience", patience, "how long an answer of Kafka's may take to become ours")
	flag.BoolVar(&verbose, "v", false, "print every request and its answers")
	doc := flag.String("differences", "kafka/DIFFERENCES.md", "the document that has every allowed difference")
	of := flag.String("persona", "", "a file of kafka/kafkatest/testdata/personas: the release of both")
	flag.Parse()
	if *of != "" {
		if err := pass(*of); err != nil {
			fail(err)
		}
	}
	text, err := os.ReadFile(*doc)
	if err != nil {
		fail(err)
	}
	for _, a := range slices.Concat(allowed, of28, ofOld) {
		if !strings.Contains(string(text), "| `"+a.id+"` |") {
			fail(fmt.Errorf("%s has no difference `%s`", *doc, a.id))
		}
	}
	r := &run{kafka: newSide("kafka", *theirs, *theirSASL), partlog: newSide("partlog", *ours, *ourSASL), met: map[string]int{}}
	began := time.Now()
	r.prepare()
	r.random(*seed, *n)
	r.settle()
	r.logins(*seed, *n/5)
	r.coordinators()
	r.transactions()
	r.report(*seed, time.Since(began))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "differential:", err)
	os.Exit(1)
}

// run is a comparison of two brokers.
type run struct {
	kafka, partlog  *side
	same, different int
	met             map[string]int // allowed differences seen, by id
}

// patience is how long an answer of Kafka's about what has just been changed may take to become ours: its brokers learn from
// its controller.
var patience = 10 * time.Second

// verbose prints every request and both answers.
var verbose bool

// both compares the two answers to a request. What Kafka refuses because it is busy with what came before, it is asked again.
func (r *run) both(what string, ask func(*side) kmsg.Response) { r.compare(what, ask, false) }

// read is both for a request that changes nothing: it is asked again for a while if the answers differ.
func (r *run) read(what string, ask func(*side) kmsg.Response) { r.compare(what, ask, true) }

func (r *run) compare(what string, ask func(*side) kmsg.Response, again bool) {
	defer func() {
		if x := recover(); x != nil && x != (notServed{}) {
			panic(x)
		}
	}()
	pause := 10 * time.Millisecond
	k, p := ask(r.kafka), ask(r.partlog)
	for began := time.Now(); ; time.Sleep(pause) {
		var refused []difference
		var ids []string
		for _, d := range differences(r, k, p) {
			if id := allow(d); id != "" {
				ids = append(ids, id)
			} else {
				refused = append(refused, d)
			}
		}
		if verbose {
			fmt.Printf("ASKED %s\n  kafka   %s\n  partlog %s\n", what, text(k), text(p))
		}
		if len(refused) == 0 {
			for _, id := range ids {
				r.met[id]++
			}
			r.same++
			return
		}
		if inTime := time.Since(began) < patience; inTime && again {
			pause = min(2*pause, 500*time.Millisecond)
			k, p = ask(r.kafka), ask(r.partlog)
			continue
		} else if inTime && notYet(k) && !notYet(p) {
			pause = min(2*pause, 500*time.Millisecond)
			k = ask(r.kafka)
			continue
		}
		r.different++
		fmt.Printf("DIFFERENT %s\n", what)
		for _, d := range refused {
			fmt.Printf("  %s: %s, here %s\n", d.path, d.kafka, d.partlog)
		}
		fmt.Printf("  kafka   %s\n  partlog %s\n", text(k), text(p))
		return
	}
}

func text(r kmsg.Response) string {
	if r == nil {
		return "closed the connection"
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// each does something to both without a comparison.
func (r *run) each(do func(*side)) {
	do(r.kafka)
	do(r.partlog)
}

// prepare makes the topics that requests are about and waits until both serve them and coordinate.
func (r *run) prepare() {
	r.each(func(s *side) {
		req := kmsg.NewPtrCreateTopicsRequest()
		for _, name := range []string{"t", "u", "c"} {
			one := kmsg.NewCreateTopicsRequestTopic()
			one.Topic, one.NumPartitions, one.ReplicationFactor = name, 3, 1
			req.Topics = append(req.Topics, one)
		}
		req.TimeoutMillis = 60000
		s.ask(7, req)
	})
	r.barrier()
	r.each(func(s *side) {
		s.learn()
		for kind := range int8(2) {
			s.until("a coordinator", func() bool {
				req := kmsg.NewPtrFindCoordinatorRequest()
				req.CoordinatorKey, req.CoordinatorType = "x", kind
				resp, ok := s.ask(1, req).(*kmsg.FindCoordinatorResponse)
				return ok && resp.ErrorCode == 0
			})
		}
		s.until("the group coordinator", func() bool {
			req := kmsg.NewPtrHeartbeatRequest()
			req.Group, req.MemberID = "x", "x"
			resp, ok := s.ask(1, req).(*kmsg.HeartbeatResponse)
			return ok && resp.ErrorCode == 25
		})
		s.until("a block of producer ids", func() bool {
			resp, ok := s.ask(1, kmsg.NewPtrInitProducerIDRequest()).(*kmsg.InitProducerIDResponse)
			return ok && resp.ErrorCode == 0
		})
		s.until("the transaction coordinator", func() bool {
			req := kmsg.NewPtrEndTxnRequest()
			req.TransactionalID, req.ProducerID = "x", 1
			resp, ok := s.ask(1, req).(*kmsg.EndTxnResponse)
			return ok && resp.ErrorCode == 49
		})
	})
}

// barrier returns when brokers have what their controllers have answered so far: the changes of a cluster come in one order,
// so a topic that is made now is served after all of them.
func (r *run) barrier() {
	r.each(func(s *side) {
		s.barriers++
		name := fmt.Sprintf("barrier-%d", s.barriers)
		req := kmsg.NewPtrCreateTopicsRequest()
		one := kmsg.NewCreateTopicsRequestTopic()
		one.Topic, one.NumPartitions, one.ReplicationFactor = name, 1, 1
		req.Topics = append(req.Topics, one)
		req.TimeoutMillis = 60000
		s.ask(7, req)
		s.until(name, func() bool {
			req := kmsg.NewPtrListOffsetsRequest()
			req.ReplicaID = -1
			one := kmsg.NewListOffsetsRequestTopicPartition()
			one.Timestamp = -1
			req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: name, Partitions: []kmsg.ListOffsetsRequestTopicPartition{one}}}
			resp, ok := s.ask(5, req).(*kmsg.ListOffsetsResponse)
			return ok && resp.Topics[0].Partitions[0].ErrorCode == 0
		})
		gone := kmsg.NewPtrDeleteTopicsRequest()
		gone.TopicNames, gone.TimeoutMillis = []string{name}, 60000
		s.ask(3, gone)
		s.until("the end of "+name, func() bool {
			req := kmsg.NewPtrMetadataRequest()
			req.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}}
			resp, ok := s.ask(1, req).(*kmsg.MetadataResponse)
			return ok && resp.Topics[0].ErrorCode == 3
		})
	})
}

// report says what was found and ends the process.
func (r *run) report(seed uint64, took time.Duration) {
	var ids []string
	for id := range r.met {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	for _, id := range ids {
		fmt.Printf("%6d x %s\n", r.met[id], id)
	}
	fmt.Printf("seed %d: %d answers equal but for what is listed, %d different, %.0f s\n", seed, r.same, r.different, took.Seconds())
	if r.different > 0 {
		os.Exit(1)
	}
}
