package replica

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func partition(i int) TopicPartition {
	return TopicPartition{Topic: TopicID{byte(i / 16)}, Index: int32(i % 16)}
}

func nothing(*SessionPartition) {}

func full(node NodeID, id int32, n int) *FetchRequest {
	req := &FetchRequest{Node: node, SessionID: id, SessionEpoch: FirstEpoch}
	for i := range n {
		req.Partitions = append(req.Partitions, FetchPartition{partition(i), Position{MaxBytes: 100}})
	}
	return req
}

func TestASessionIsOfOneFollowerAndCountsItsRequests(t *testing.T) {
	c := NewSessionCache(SessionCacheConfig{Seed: 1})
	s, code := c.Request(full(2, 0, 3), 0, nothing, nothing)
	require.Equal(t, None, code)
	require.NotZero(t, s.ID())
	require.Equal(t, 3, s.Len())

	_, code = c.Request(&FetchRequest{Node: 3, SessionID: s.ID(), SessionEpoch: 1}, 0, nothing, nothing)
	require.Equal(t, FetchSessionIDNotFound, code, "of another follower")
	_, code = c.Request(&FetchRequest{Node: 2, SessionID: s.ID() + 1, SessionEpoch: 1}, 0, nothing, nothing)
	require.Equal(t, FetchSessionIDNotFound, code)
	_, code = c.Request(&FetchRequest{Node: 2, SessionID: s.ID(), SessionEpoch: 2}, 0, nothing, nothing)
	require.Equal(t, InvalidFetchSessionEpoch, code)
	again, code := c.Request(&FetchRequest{Node: 2, SessionID: s.ID(), SessionEpoch: 1}, time.Second, nothing, nothing)
	require.Equal(t, None, code)
	require.Same(t, s, again)
	require.Equal(t, time.Second, s.LastUsed())
	_, code = c.Request(&FetchRequest{Node: 2, SessionID: s.ID(), SessionEpoch: 1}, 0, nothing, nothing)
	require.Equal(t, InvalidFetchSessionEpoch, code, "a request that comes twice")

	s.epoch = math.MaxInt32
	_, code = c.Request(&FetchRequest{Node: 2, SessionID: s.ID(), SessionEpoch: math.MaxInt32}, 0, nothing, nothing)
	require.Equal(t, None, code)
	require.Equal(t, int32(1), s.epoch, "epochs go on with 1")
}

// A process that has to register again, as another took its place for a while, goes on fetching under another epoch. Its idle partitions are named by a full
// request only: going on with the session, it would be known by its old epoch for ever, which no ISR takes (KIP-903).
func TestASessionEndsWithTheRegistrationItWasMadeUnder(t *testing.T) {
	c := NewSessionCache(SessionCacheConfig{})
	request := full(2, 0, 3)
	request.BrokerEpoch = 7
	s, _ := c.Request(request, 0, nothing, nothing)
	_, code := c.Request(&FetchRequest{Node: 2, BrokerEpoch: 7, SessionID: s.ID(), SessionEpoch: 1}, 0, nothing, nothing)
	require.Equal(t, None, code)
	_, code = c.Request(&FetchRequest{Node: 2, BrokerEpoch: 9, SessionID: s.ID(), SessionEpoch: 2}, 0, nothing, nothing)
	require.Equal(t, FetchSessionIDNotFound, code)
	request.BrokerEpoch = 9
	named := 0
	_, code = c.Request(request, 0, func(*SessionPartition) { named++ }, nothing)
	require.Equal(t, None, code)
	require.Equal(t, 3, named)
}

func TestAFullRequestReplacesTheSession(t *testing.T) {
	c := NewSessionCache(SessionCacheConfig{})
	s, _ := c.Request(full(2, 0, 3), 0, nothing, nothing)
	gone := 0
	next, code := c.Request(full(2, s.ID(), 2), 0, nothing, func(*SessionPartition) { gone++ })
	require.Equal(t, None, code)
	require.NotEqual(t, s.ID(), next.ID())
	require.True(t, s.Closed())
	require.Equal(t, 3, gone)
	require.Equal(t, 1, c.Len())

	last := full(2, next.ID(), 2)
	last.SessionEpoch = FinalEpoch
	none, code := c.Request(last, 0, nothing, nothing)
	require.Equal(t, None, code)
	require.Zero(t, none.ID())
	require.Equal(t, 2, none.Len())
	require.Zero(t, c.Len())
}

// A full request of the past, over a connection that its follower has given up, says where the follower was. The session of the present goes
// with it, so that the follower says where it is.
func TestALateFullRequestEndsTheSessionOfThePresent(t *testing.T) {
	for _, epoch := range []int32{FirstEpoch, FinalEpoch} {
		c := NewSessionCache(SessionCacheConfig{})
		present, _ := c.Request(full(2, 0, 3), 0, nothing, nothing)
		other, _ := c.Request(full(3, 0, 3), 0, nothing, nothing)
		late := full(2, 77, 3)
		late.SessionEpoch = epoch
		_, code := c.Request(late, 0, nothing, nothing)
		require.Equal(t, None, code)
		require.True(t, present.Closed())
		_, code = c.Request(&FetchRequest{Node: 2, SessionID: present.ID(), SessionEpoch: 1}, 0, nothing, nothing)
		require.Equal(t, FetchSessionIDNotFound, code)
		require.False(t, other.Closed())
	}
}

func TestASlotIsFreeWhenItsSessionWasIdleOrIsSmaller(t *testing.T) {
	c := NewSessionCache(SessionCacheConfig{Slots: 2, Idle: time.Minute})
	one, _ := c.Request(full(1, 0, 1), 0, nothing, nothing)
	two, _ := c.Request(full(2, 0, 5), 0, nothing, nothing)
	three, code := c.Request(full(3, 0, 3), time.Second, nothing, nothing)
	require.Equal(t, None, code)
	require.Zero(t, three.ID(), "all slots are taken: the request is served without a session")

	_, code = c.Request(&FetchRequest{Node: 1, SessionID: one.ID(), SessionEpoch: 1}, 50*time.Second, nothing, nothing)
	require.Equal(t, None, code)
	_, code = c.Request(&FetchRequest{Node: 2, SessionID: two.ID(), SessionEpoch: 1}, 50*time.Second, nothing, nothing)
	require.Equal(t, None, code)
	three, _ = c.Request(full(3, 0, 3), time.Minute, nothing, nothing)
	require.NotZero(t, three.ID(), "a smaller one has had its slot long enough")
	require.True(t, one.Closed())
	require.False(t, two.Closed())

	four, _ := c.Request(full(4, 0, 1), 111*time.Second, nothing, nothing)
	require.NotZero(t, four.ID())
	require.True(t, two.Closed(), "idle for longest")
	require.Equal(t, uint64(2), c.Evicted())

	c.Drop(3, nothing)
	require.True(t, three.Closed())
	require.Equal(t, 1, c.Len())
}

func TestIDsOfTwoLivesOfANodeDiffer(t *testing.T) {
	first, second := NewSessionCache(SessionCacheConfig{Seed: 1}), NewSessionCache(SessionCacheConfig{Seed: 2})
	seen := map[int32]bool{}
	for range 1000 {
		seen[first.draw()], seen[second.draw()] = true, true
	}
	require.Len(t, seen, 2000)
	require.False(t, seen[0])
}

func TestOnlyWhatIsNewIsAnswered(t *testing.T) {
	c := NewSessionCache(SessionCacheConfig{})
	s, _ := c.Request(full(2, 0, 3), 0, nothing, nothing)
	answers := map[TopicPartition]Answer{}
	read := func(p *SessionPartition, _ int, _ bool) Answer { return answers[p.TopicPartition] }
	fill := func(maxBytes int) (told []TopicPartition) {
		var resp FetchResponse
		s.Fill(&resp, maxBytes, read)
		for _, a := range resp.Partitions {
			told = append(told, a.TopicPartition)
		}
		return told
	}
	a, b, d := partition(0), partition(1), partition(2)
	for _, tp := range []TopicPartition{a, b, d} {
		answers[tp] = Answer{HighWatermark: 5, LogStart: 0, DivergingEnd: NoOffset}
		s.Touch(s.Partition(tp), SmallNews)
	}
	require.Equal(t, []TopicPartition{a, b, d}, fill(1000), "at first, all")
	require.Equal(t, NoNews, s.News())
	require.Empty(t, fill(1000))

	s.Touch(s.Partition(b), SmallNews)
	require.Equal(t, SmallNews, s.News())
	require.Empty(t, fill(1000), "nothing has changed after all")
	require.Equal(t, NoNews, s.News())

	change := func(tp TopicPartition, f func(*Answer)) {
		changed := answers[tp]
		f(&changed)
		answers[tp] = changed
		s.Touch(s.Partition(tp), BigNews)
	}
	change(b, func(a *Answer) { a.HighWatermark = 6 })
	change(a, func(a *Answer) { a.LogStart = 1 })
	require.Equal(t, []TopicPartition{b, a}, fill(1000))
	change(d, func(a *Answer) { a.DivergingEnd = 3 })
	require.Equal(t, []TopicPartition{d}, fill(1000))
	change(d, func(a *Answer) { *a = refusal(NotLeaderOrFollower) })
	require.Equal(t, []TopicPartition{d}, fill(1000))
	change(d, func(a *Answer) { *a = Answer{HighWatermark: 5, DivergingEnd: NoOffset} })
	require.Equal(t, []TopicPartition{d}, fill(1000), "it has healed: the high watermark is told again")

	// What it was told where the logs part it has not used, and its next request says so. Its log may begin later than the leader's: that is no news.
	at := func(start int64) {
		c.Request(&FetchRequest{Node: 2, SessionID: s.ID(), SessionEpoch: s.epoch, Partitions: []FetchPartition{{TopicPartition: d, Position: Position{LogStart: start, HighWatermark: 5}}}},
			0, func(p *SessionPartition) { s.Touch(p, SmallNews) }, nothing)
	}
	change(d, func(a *Answer) { *a = Answer{HighWatermark: 5, LogStart: 4, DivergingEnd: 3} })
	require.Equal(t, []TopicPartition{d}, fill(1000))
	answers[d] = Answer{HighWatermark: 5, LogStart: 4, DivergingEnd: NoOffset}
	at(0)
	require.Equal(t, []TopicPartition{d}, fill(1000))
	at(4)
	require.Empty(t, fill(1000))
	at(5)
	require.Empty(t, fill(1000))

	// Who has been answered goes behind the others; what has no place keeps its news.
	for _, tp := range []TopicPartition{a, b, d} {
		change(tp, func(a *Answer) { a.Records = make([]byte, 60) })
	}
	require.Equal(t, []TopicPartition{a}, fill(60))
	require.Equal(t, BigNews, s.News())
	s.Touch(s.Partition(a), BigNews)
	require.Equal(t, []TopicPartition{b}, fill(60))
	require.Equal(t, []TopicPartition{d}, fill(60))
	require.Equal(t, []TopicPartition{a}, fill(60))
}

func TestTheFirstPartitionWithRecordsMayGoAboveTheLimit(t *testing.T) {
	c := NewSessionCache(SessionCacheConfig{})
	s, _ := c.Request(full(2, 0, 3), 0, nothing, nothing)
	for i := range 3 {
		s.Touch(s.Partition(partition(i)), BigNews)
	}
	var rooms []string
	var resp FetchResponse
	s.Fill(&resp, 150, func(p *SessionPartition, room int, first bool) Answer {
		rooms = append(rooms, fmt.Sprintf("%d %t", room, first))
		a := Answer{DivergingEnd: NoOffset}
		if p.Index == 1 {
			a.Records = make([]byte, 120)
		}
		return a
	})
	require.Equal(t, []string{"100 true", "100 true", "30 false"}, rooms, "100 is the partition's own limit")
}

func TestPartitionsThatAreBehindShareAnAnswerAndOneAloneHasTheWholeOfIt(t *testing.T) {
	const most = 10 << 20
	given := func(n int) (sizes []int) {
		c := NewSessionCache(SessionCacheConfig{})
		request := full(2, 0, n)
		for i := range request.Partitions {
			request.Partitions[i].MaxBytes = most
		}
		s, _ := c.Request(request, 0, nothing, nothing)
		for p := range s.Partitions() {
			s.Touch(p, BigNews)
		}
		var resp FetchResponse
		s.Fill(&resp, most, func(_ *SessionPartition, room int, _ bool) Answer {
			sizes = append(sizes, room)
			a := refusal(None)
			a.Records = make([]byte, room)
			return a
		})
		require.Equal(t, max(0, n-len(sizes)), s.queued, "those without place keep their news")
		return sizes
	}
	require.Equal(t, []int{most}, given(1))
	require.Equal(t, []int{most / 2, most / 2}, given(2))
	sizes := given(40)
	require.Len(t, sizes, 10)
	for _, n := range sizes {
		require.Equal(t, 1<<20, n)
	}
}

func TestAPlanNamesWhatHasChangedOnly(t *testing.T) {
	f := NewFetchPlan()
	a, b := partition(0), partition(1)
	f.Want(b, Position{Offset: 1})
	f.Want(a, Position{Offset: 2})
	f.Want(a, Position{Offset: 3})
	var req FetchRequest
	f.Request(&req)
	require.Equal(t, []FetchPartition{{a, Position{Offset: 3}}, {b, Position{Offset: 1}}}, req.Partitions)
	require.Equal(t, [2]int32{0, FirstEpoch}, [2]int32{req.SessionID, req.SessionEpoch})
	require.True(t, f.Answered(None, 7))

	f.Want(a, Position{Offset: 3})
	f.Request(&req)
	require.Empty(t, req.Partitions)
	require.Equal(t, [2]int32{7, 1}, [2]int32{req.SessionID, req.SessionEpoch})
	require.True(t, f.Answered(None, 7))

	f.Want(a, Position{Offset: 4})
	f.Forget(b)
	f.Request(&req)
	require.Equal(t, []FetchPartition{{a, Position{Offset: 4}}}, req.Partitions)
	require.Equal(t, []TopicPartition{b}, req.Forgotten)
	require.True(t, f.Answered(None, 7))

	// Forgotten and wanted again before the leader has heard of either: it is named.
	f.Forget(a)
	f.Want(a, Position{Offset: 4})
	f.Request(&req)
	require.Equal(t, []FetchPartition{{a, Position{Offset: 4}}}, req.Partitions)
	require.Empty(t, req.Forgotten)

	// Nobody knows what became of it: all over again, in place of the old session.
	f.Lost()
	f.Request(&req)
	require.Equal(t, []FetchPartition{{a, Position{Offset: 4}}}, req.Partitions)
	require.Equal(t, [2]int32{7, FirstEpoch}, [2]int32{req.SessionID, req.SessionEpoch})
	require.False(t, f.Answered(FetchSessionIDNotFound, 0))
	f.Request(&req)
	require.Len(t, req.Partitions, 1)
	require.Equal(t, [2]int32{0, FirstEpoch}, [2]int32{req.SessionID, req.SessionEpoch})

	// The leader has no place for a session: each request is a full one.
	require.True(t, f.Answered(None, 0))
	f.Request(&req)
	require.Len(t, req.Partitions, 1)
	require.Equal(t, FirstEpoch, req.SessionEpoch)
	require.True(t, f.Answered(None, 9))
	f.Request(&req)
	require.Empty(t, req.Partitions)
	require.False(t, f.Answered(None, 8), "of another session")
}

// TestBothEndsOfASessionAgree draws what a follower wants, requests and responses that are lost, and evictions. After each request that arrives,
// the leader's end has exactly the follower's partitions and positions, and each change at the leader is told by an answer that arrives.
func TestBothEndsOfASessionAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := NewSessionCache(SessionCacheConfig{Slots: 1, Idle: time.Second})
		plan := NewFetchPlan()
		wanted := map[TopicPartition]Position{}
		highs := map[TopicPartition]int64{} // at the leader
		known := map[TopicPartition]int64{} // at the follower
		var now time.Duration
		var req FetchRequest
		which := rapid.Custom(func(t *rapid.T) TopicPartition { return partition(rapid.IntRange(0, 5).Draw(t, "partition")) })
		round := func(t *rapid.T, lost string) {
			plan.Request(&req)
			if lost == "request" {
				plan.Lost()
				return
			}
			req.Node = 2
			s, code := c.Request(&req, now, func(p *SessionPartition) {
				if !p.Knows(highs[p.TopicPartition], 0) {
					p.Owner = true
				}
			}, nothing)
			resp := FetchResponse{Code: code}
			if s != nil {
				have := map[TopicPartition]Position{}
				for tp, p := range s.parts {
					have[tp] = p.Position
					if p.Owner == true {
						s.Touch(p, SmallNews)
						p.Owner = nil
					}
				}
				require.Equal(t, wanted, have)
				s.Fill(&resp, 1000, func(p *SessionPartition, _ int, _ bool) Answer {
					return Answer{HighWatermark: highs[p.TopicPartition], DivergingEnd: NoOffset}
				})
			}
			if lost == "response" {
				plan.Lost()
				return
			}
			if plan.Answered(resp.Code, resp.SessionID) {
				for _, a := range resp.Partitions {
					known[a.TopicPartition] = a.HighWatermark
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"want": func(t *rapid.T) {
				tp := which.Draw(t, "which")
				at := Position{Offset: int64(rapid.IntRange(0, 3).Draw(t, "offset")), HighWatermark: known[tp], MaxBytes: 100}
				wanted[tp] = at
				plan.Want(tp, at)
			},
			"forget": func(t *rapid.T) {
				tp := which.Draw(t, "which")
				delete(wanted, tp)
				plan.Forget(tp)
			},
			"high": func(t *rapid.T) {
				tp := which.Draw(t, "which")
				highs[tp]++
				for _, id := range slices.Sorted(maps.Keys(c.sessions)) {
					if p := c.sessions[id].Partition(tp); p != nil {
						c.sessions[id].Touch(p, SmallNews)
					}
				}
			},
			"fetch": func(t *rapid.T) { round(t, "") },
			"lose":  func(t *rapid.T) { round(t, rapid.SampledFrom([]string{"request", "response"}).Draw(t, "what")) },
			"other": func(t *rapid.T) {
				now += 2 * time.Second
				_, code := c.Request(full(3, 0, 1), now, nothing, nothing)
				require.Equal(t, None, code)
				now += 2 * time.Second
			},
			"": func(t *rapid.T) {
				require.LessOrEqual(t, c.Len(), 1)
				require.Equal(t, len(wanted), plan.Len())
			},
		})
		for range 3 {
			round(t, "")
		}
		for tp := range wanted {
			require.Equal(t, highs[tp], known[tp], "%v", tp)
		}
	})
}

// TestAnIdlePartitionCostsNothing: a round of a session that has 10,000 partitions of which one has news allocates nothing at either end,
// whatever the number.
func TestAnIdlePartitionCostsNothing(t *testing.T) {
	r := newRound(10_000)
	require.Zero(t, testing.AllocsPerRun(100, r.run))
	require.Len(t, r.resp.Partitions, 1)
}

// round is a fetch of one partition that has news in a session of many.
type round struct {
	cache *SessionCache
	plan  *FetchPlan
	s     *FetchSession
	req   FetchRequest
	resp  FetchResponse
	n     int64
	many  int
}

func newRound(many int) *round {
	r := &round{cache: NewSessionCache(SessionCacheConfig{}), plan: NewFetchPlan(), many: many}
	for i := range many {
		r.plan.Want(partition(i), Position{MaxBytes: 1000})
	}
	r.plan.Request(&r.req)
	r.req.Node = 2
	r.s, _ = r.cache.Request(&r.req, 0, nothing, nothing)
	r.plan.Answered(None, r.s.ID())
	return r
}

func (r *round) run() {
	r.n++
	tp := partition(int(r.n*7919) % r.many)
	r.plan.Want(tp, Position{Offset: r.n, MaxBytes: 1000})
	r.plan.Request(&r.req)
	s, code := r.cache.Request(&r.req, 0, nothing, nothing)
	if code != None {
		panic(code)
	}
	s.Touch(s.Partition(tp), BigNews)
	r.resp.Partitions = r.resp.Partitions[:0]
	s.Fill(&r.resp, 1000, r.read)
	r.plan.Answered(None, r.resp.SessionID)
}

func (r *round) read(*SessionPartition, int, bool) Answer {
	return Answer{HighWatermark: r.n, DivergingEnd: NoOffset}
}

func BenchmarkSessionOf10000(b *testing.B) {
	r := newRound(10_000)
	b.ReportAllocs()
	for b.Loop() {
		r.run()
	}
}

func BenchmarkFullRequestOf10000(b *testing.B) {
	req := full(2, 0, 10_000)
	b.ReportAllocs()
	for b.Loop() {
		c := NewSessionCache(SessionCacheConfig{})
		c.Request(req, 0, nothing, nothing)
	}
}
