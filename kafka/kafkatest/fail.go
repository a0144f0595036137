package kafkatest

import (
	"reflect"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/kafka"
)

// fail answers a request with a rule's error, where the rule is about it, and serves the rest.
func (s *RuleSet) fail(r *Rule, call *kafka.Call, next func() kafka.Answer) kafka.Answer {
	if a, done := s.failInPlace(r, call, next); done {
		return a
	}
	w := s.walker(call.Request)
	source := reflect.ValueOf(call.Request).Elem()
	if !r.selective() {
		resp := w.blank(call.Request, r.Error)
		if r.Apply {
			return instead(next(), resp)
		}
		return unanswered(call, kafka.Answer{Response: resp})
	}
	bad, _ := w.part(source, item{}, r.picks)
	rest, left := w.part(source, item{}, func(it item) bool { return !r.picks(it) })
	resp := w.blank(bad.Addr().Interface().(kmsg.Request), r.Error)
	if !left {
		if r.Apply {
			return instead(next(), resp)
		}
		return unanswered(call, kafka.Answer{Response: resp})
	}
	if r.Apply {
		answer := next()
		if answer.Response != nil {
			w.stamp(reflect.ValueOf(answer.Response).Elem(), item{}, r.picks, r.Error, true)
		}
		return answer
	}
	call.Request = rest.Addr().Interface().(kmsg.Request)
	answer := next()
	if answer.Response == nil || answer.Err != nil {
		return unanswered(call, answer)
	}
	merge(reflect.ValueOf(answer.Response).Elem(), reflect.ValueOf(resp).Elem())
	return answer
}

// instead has an error take the place of an answer to a request that has taken effect.
func instead(answer kafka.Answer, resp kmsg.Response) kafka.Answer {
	if answer.Err == nil && answer.Response != nil {
		answer.Response = resp
	}
	return answer
}

// unanswered closes the connection of a Produce with acks=0, which is told of no error otherwise.
func unanswered(call *kafka.Call, answer kafka.Answer) kafka.Answer {
	if p, ok := call.Request.(*kmsg.ProduceRequest); ok && p.Acks == 0 {
		return kafka.Answer{Err: ErrRule}
	}
	return answer
}

// Errors of a fetch as a whole; all others are those of its partitions.
var fetchErrors = []int16{35, 42, 58, 70, 71, 89, 106}

// failInPlace is fail for requests whose answer says more than they ask: it is made, and then changed.
func (s *RuleSet) failInPlace(r *Rule, call *kafka.Call, next func() kafka.Answer) (kafka.Answer, bool) {
	w := s.walker(call.Request)
	switch req := call.Request.(type) {
	case *kmsg.FetchRequest:
		if slices.Contains(fetchErrors, r.Error) {
			resp := req.ResponseKind().(*kmsg.FetchResponse)
			resp.ErrorCode = r.Error
			return kafka.Answer{Response: resp}, true
		}
		asked := s.items(call)
		req.MaxWaitMillis = 0 // Kafka tells of an error at once
		answer := next()
		if resp, ok := answer.Response.(*kmsg.FetchResponse); ok && resp.ErrorCode == 0 {
			s.failFetch(r, w, asked, resp)
		}
		return answer, true
	case *kmsg.MetadataRequest:
		if !r.Apply {
			req.AllowAutoTopicCreation = false
		}
	case *kmsg.DescribeClusterRequest, *kmsg.DescribeTopicPartitionsRequest, *kmsg.DescribeLogDirsRequest, *kmsg.DescribeProducersRequest:
		if !r.selective() {
			return kafka.Answer{}, false
		}
	default:
		return kafka.Answer{}, false
	}
	answer := next()
	if answer.Response != nil {
		w.stamp(reflect.ValueOf(answer.Response).Elem(), item{}, s.levels(r), r.Error, true)
	}
	return answer, true
}

// levels picks topics as a whole unless the rule names partitions: then the topic's error stands for theirs.
func (s *RuleSet) levels(r *Rule) func(item) bool {
	return func(it item) bool { return it.hasPartition == (len(r.Partitions) > 0) && r.picks(it) }
}

// failFetch puts a rule's error into the answer to a fetch, whose session may have partitions that neither the request nor the
// answer names.
func (s *RuleSet) failFetch(r *Rule, w walker, asked []item, resp *kmsg.FetchResponse) {
	w.stamp(reflect.ValueOf(resp).Elem(), item{}, r.picks, r.Error, true)
	for _, it := range asked {
		if !it.hasPartition || !r.picks(it) || hasPartition(resp, w, it) {
			continue
		}
		t := kmsg.NewFetchResponseTopic()
		t.Topic, t.TopicID = it.topic, it.id
		p := kmsg.NewFetchResponseTopicPartition()
		p.Partition = it.partition
		resp.Topics = append(resp.Topics, t)
		last := &resp.Topics[len(resp.Topics)-1]
		bare(reflect.ValueOf(&p).Elem())
		p.ErrorCode = r.Error
		last.Partitions = append(last.Partitions, p)
	}
}

func hasPartition(resp *kmsg.FetchResponse, w walker, it item) (found bool) {
	w.leaves(reflect.ValueOf(resp).Elem(), item{}, func(o item) {
		found = found || o.hasPartition && o.topic == it.topic && o.partition == it.partition
	})
	return found
}

// items lists what a request is about: of a fetch also what its session has.
func (s *RuleSet) items(call *kafka.Call) []item {
	req, ok := call.Request.(*kmsg.FetchRequest)
	if !ok || s.fetched == nil || req.SessionEpoch <= 0 {
		return s.itemsOf(call.Request)
	}
	return s.fetched(call.Broker, req.SessionID)
}
