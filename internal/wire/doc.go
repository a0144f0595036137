// Package wire moves Kafka's frames over connections: it knows sizes, headers, limits, TLS and the mechanics of SASL, and
// nothing of what the requests mean. Package kafka serves with it; kafkatest and replication speak to peers with it.
//
// A frame is a signed 32-bit size and as many bytes (big-endian, as everything here). A request's bytes begin with a
// Header. A Server accepts connections and asks the Handler for a Session for each; the Session answers frame after
// frame:
//
//	s := wire.NewServer(wire.Config{})
//	go s.Serve(listener, handler)
//	...
//	s.Shutdown(ctx)
//
// One goroutine serves a connection, one request is in hand at a time, and answers leave in the order of the requests
// (the Java broker mutes a channel in the same way). What a client sends meanwhile stays in the socket. Between requests a
// connection holds its goroutine and a buffer of a kilobyte; the memory of larger frames comes from pools when their bytes
// arrive, and all of it is counted against one Budget.
//
// Limits close what misbehaves: frames of an impossible size, too many connections, peers that send or read too slowly, say
// nothing for too long, or do not authenticate. Every end has a reason, which the Session and Config.Closed are told.
//
// A peer that goes away while its request is being answered is not noticed before the answer is written: nobody reads
// its connection meanwhile, as in the Java broker. A waiting Fetch ends by its own MaxWait.
package wire
