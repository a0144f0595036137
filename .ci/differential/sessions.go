package main

import (
	"math/rand/v2"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetchSession is an incremental fetch session (KIP-227) at one broker; there are a few at a time. Id 0 is none.
type fetchSession struct{ id, epoch int32 }

// incrementalFetch draws a request of a session: mostly the next one, sometimes a new session or one's end, and what no client sends.
func incrementalFetch(g *rand.Rand, req kmsg.Request, s *side) {
	r := req.(*kmsg.FetchRequest)
	r.ReplicaState.ID, r.ReplicaState.Epoch, r.ClusterID = -1, -1, nil
	s.session = &s.sessions[g.IntN(len(s.sessions))]
	r.SessionID, r.SessionEpoch = s.session.id, s.session.epoch
	switch g.IntN(12) {
	case 0:
		r.SessionEpoch = 0 // a new one
	case 1:
		r.SessionEpoch = -1 // the end
	case 2:
		r.SessionEpoch++
	case 3:
		r.SessionID, r.SessionEpoch = 12345, 1
	}
	readable(r)
	if old28() { // where partitions that do not fit come first in a session is another place (KAFKA-12330)
		for i := range r.Topics {
			for j := range r.Topics[i].Partitions {
				r.Topics[i].Partitions[j].PartitionMaxBytes = 1 << 20
			}
		}
	}
	r.ForgottenTopics = distinct(r.ForgottenTopics, func(t *kmsg.FetchRequestForgottenTopic) string { return one(r, 13, &t.Topic, &t.TopicID) })
	if r.SessionEpoch <= 0 || g.IntN(3) > 0 {
		r.ForgottenTopics = nil
	}
}

// afterIncrementalFetch follows the session that the last request was of.
func afterIncrementalFetch(s *side, req kmsg.Request, resp kmsg.Response) {
	r := req.(*kmsg.FetchRequest)
	a, ok := resp.(*kmsg.FetchResponse)
	switch {
	case !ok || r.SessionID != s.session.id: // nothing was said of it
	case r.SessionEpoch == -1 || a.SessionID == 0 && a.ErrorCode != invalidFetchSessionEpoch:
		*s.session = fetchSession{}
	case a.ErrorCode == 0:
		*s.session = fetchSession{a.SessionID, r.SessionEpoch + 1}
	}
}

const invalidFetchSessionEpoch = 71
