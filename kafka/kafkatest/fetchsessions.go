package kafkatest

import (
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/kafka"
)

// fetchSessions knows what the clients' fetch sessions (KIP-227) are about: later requests of a session name only what
// changes, and rules are to find the rest too.
type fetchSessions struct {
	topicName func(id [16]byte) string

	mu   sync.Mutex // guards all below
	open map[fetchKey][]item
}

type fetchKey struct{ broker, session int32 }

func (f *fetchSessions) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open = map[fetchKey][]item{}
}

// items lists the partitions of a session.
func (f *fetchSessions) items(broker, session int32) []item {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.open[fetchKey{broker, session}])
}

// track follows one request, if it is a fetch.
func (f *fetchSessions) track(call *kafka.Call, serve func() kafka.Answer) kafka.Answer {
	req, ok := call.Request.(*kmsg.FetchRequest)
	if !ok {
		return serve()
	}
	epoch := req.SessionEpoch
	var named []item
	if epoch == 0 {
		named = f.named(req)
	} else {
		f.update(call.Broker, req)
	}
	answer := serve()
	if resp, ok := answer.Response.(*kmsg.FetchResponse); ok && epoch == 0 && resp.ErrorCode == 0 && resp.SessionID != 0 {
		f.mu.Lock()
		if len(f.open) > 4096 { // those whose end nobody told
			clear(f.open)
		}
		f.open[fetchKey{call.Broker, resp.SessionID}] = named
		f.mu.Unlock()
	}
	return answer
}

// named lists the partitions that a request names.
func (f *fetchSessions) named(req *kmsg.FetchRequest) []item {
	var all []item
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			all = append(all, f.item(t.Topic, t.TopicID, t.Partitions[j].Partition))
		}
	}
	return all
}

func (f *fetchSessions) item(topic string, id [16]byte, p int32) item {
	it := item{topic: string([]byte(topic)), id: id, partition: p, hasTopic: true, hasPartition: true}
	if topic == "" && f.topicName != nil {
		it.topic = f.topicName(id)
	}
	return it
}

// update follows a request of a session that is there.
func (f *fetchSessions) update(broker int32, req *kmsg.FetchRequest) {
	key := fetchKey{broker, req.SessionID}
	named := f.named(req)
	var gone []item
	for i := range req.ForgottenTopics {
		t := &req.ForgottenTopics[i]
		for _, p := range t.Partitions {
			gone = append(gone, f.item(t.Topic, t.TopicID, p))
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if req.SessionEpoch < 0 {
		delete(f.open, key)
		return
	}
	if len(named) == 0 && len(gone) == 0 {
		return
	}
	list := slices.DeleteFunc(slices.Clone(f.open[key]), func(it item) bool { return slices.Contains(gone, it) })
	for _, it := range named {
		if !slices.Contains(list, it) {
			list = append(list, it)
		}
	}
	f.open[key] = list
}
