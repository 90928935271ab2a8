/* SPDX-License-Identifier: MIT
 *
 * sipbench - phones and provider of the signalling benchmark, in one process on one clock.
 *
 *   sipbench CPU INSIDE OUTSIDE PROXY_INSIDE PROXY_OUTSIDE PROVIDER PHONE PHONES SILENT
 *
 * INSIDE and OUTSIDE are files of network namespaces. There is one socket in each: phones are at
 * PHONES addresses from PHONE on (user u at PHONE + u mod PHONES), the provider is at PROVIDER, all
 * on port 5060. Nobody answers at SILENT. Every command on standard input is answered by one line of JSON:
 *
 *   fill USERS WINDOW              register up to USERS, WINDOW requests at a time
 *   dial CALLS WINDOW              set up CALLS calls that stay
 *   hangup WINDOW                  end them
 *   run KIND RATE SECONDS BAD DRAIN
 *       KIND register: a REGISTER that refreshes the binding of a user
 *            call:     INVITE 100 180 200 ACK BYE 200, every other one from outside
 *            info:     an INFO in one of the calls of `dial`
 *       started at RATE a second whatever the proxy does (open loop). In addition BAD calls a second
 *       go where nobody answers, by turns a name of its own each time and TCP to SILENT. After
 *       SECONDS what is under way has DRAIN seconds to end; what has not ended then has failed.
 *
 * A transaction is known by the branch in the Via of whoever started it, which every proxy leaves in
 * place. Requests are repeated by RFC 3261 (T1 500 ms, doubled up to T2), a 2xx to INVITE until its ACK
 * comes. Times: from handing a datagram to the kernel until the other namespace has received it
 * (SO_TIMESTAMPNS), so that what this program does meanwhile does not count.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000ull
#define T1 (SECOND / 2)
#define LEVELS 5              /* T1 2T1 4T1 and twice T2: 11.5 s in all, more than any run waits */
#define BATCH 64
#define ROOM 4096
#define PORT 5060
#define NOBODY UINT32_MAX

enum { PHONE, PROVIDER };                                        /* the two sides */
enum step { REGISTER = 'r', INVITE = 'i', ACK = 'a', INFO = 'm', BYE = 'b', UP = 'u', ENDED = 'e' };

struct flow {                 /* one registration, one in-dialog request, or one call */
  enum step step;
  uint8_t side, level, bad, keep, proceeding, acked, arrived;
  uint32_t user, call, cseq;  /* call: whose dialog this request is in */
  uint64_t sent, began, answered;
  char *message, *to, *target, *route;
  int length;
  char *answer;               /* the 2xx to INVITE, until its ACK comes */
  int answer_length;
  struct sockaddr_in answer_to;
  struct in_addr answer_from;
};

static struct flow *flows;
static uint32_t n_flows, room_flows, first_of_run;
static char **contact;        /* by user: the Contact that the provider knows */
static uint32_t *register_cseq, n_users, room_users, *calls, n_calls;
static unsigned run_id;
static int sockets[2];
static struct sockaddr_in proxy[2];
static uint32_t first_phone, n_phones;
static char provider[32], silent[32];
static bool measuring;

static struct {
  uint64_t started, ok, in_time, failed, rejected, sent, received, repeated, duplicates, bad, bad_refused;
  int last_status;
} count;
static uint64_t in_time_until;

static void die(const char *what) { perror(what); exit(1); }

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);  /* the clock of SO_TIMESTAMPNS */
  return t.tv_sec * SECOND + t.tv_nsec;
}

/* ---- delays ---- */

struct delays { uint64_t *ns; size_t n, room; };
static struct delays request_delay, response_delay, round_trip, setup, whole_call;

static void note(struct delays *d, uint64_t from, uint64_t to) {
  if (!measuring || !from) return;
  if (d->n == d->room) d->ns = realloc(d->ns, (d->room = d->room ? 2 * d->room : 4096) * sizeof *d->ns);
  d->ns[d->n++] = to > from ? to - from : 0;
}

static int ascending(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

static void print_delays(const char *name, struct delays *d) {
  double quantile[] = {.5, .99, .999, 1}, us[4] = {0};
  qsort(d->ns, d->n, sizeof *d->ns, ascending);
  for (int i = 0; i < 4 && d->n; i++) us[i] = d->ns[(size_t)(quantile[i] * (d->n - 1) + .5)] / 1e3;
  printf(",\"%s\":{\"n\":%zu,\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"max\":%.1f}", name, d->n, us[0], us[1],
         us[2], us[3]);
}

/* ---- sending: batches of one sendmmsg ---- */

struct outgoing {
  char data[ROOM], control[CMSG_SPACE(sizeof(struct in_pktinfo))];
  struct iovec part;
  struct sockaddr_in to;
  uint32_t flow;              /* whose time of sending this is */
  bool is_answer;
};
static struct outgoing outgoing[2][BATCH];
static struct mmsghdr outgoing_headers[2][BATCH];
static int n_outgoing[2];

static void flush_side(int side) {
  uint64_t time = now();
  for (int i = 0; i < n_outgoing[side]; i++) {
    struct outgoing *o = &outgoing[side][i];
    if (o->flow != NOBODY && o->is_answer) flows[o->flow].answered = time;
    else if (o->flow != NOBODY) flows[o->flow].sent = time;
  }
  for (int done = 0; done < n_outgoing[side];) {
    int n = sendmmsg(sockets[side], &outgoing_headers[side][done], n_outgoing[side] - done, 0);
    if (n < 0 && errno != EINTR && errno != ENOBUFS && errno != ECONNREFUSED) die("sendmmsg");
    if (n > 0) done += n;
  }
  n_outgoing[side] = 0;
}

static void put(int side, const char *data, int length, struct in_addr from, struct sockaddr_in to, uint32_t flow,
                bool is_answer) {
  if (n_outgoing[side] == BATCH) flush_side(side);
  int slot = n_outgoing[side]++;
  struct outgoing *o = &outgoing[side][slot];
  memcpy(o->data, data, length);
  o->part = (struct iovec){o->data, length};
  o->to = to;
  o->flow = flow;
  o->is_answer = is_answer;
  struct msghdr *h = &outgoing_headers[side][slot].msg_hdr;
  *h = (struct msghdr){&o->to, sizeof o->to, &o->part, 1, o->control, sizeof o->control, 0};
  struct cmsghdr *c = CMSG_FIRSTHDR(h);
  *c = (struct cmsghdr){.cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO, .cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo))};
  *(struct in_pktinfo *)CMSG_DATA(c) = (struct in_pktinfo){.ipi_spec_dst = from};
}

static struct in_addr address_of(int side, uint32_t user) {
  if (side == PROVIDER) return (struct in_addr){inet_addr(provider)};
  return (struct in_addr){htonl(first_phone + user % n_phones)};
}

/* ---- repeating: one queue for each delay, in the order of time ---- */

struct queue { struct { uint64_t due; uint32_t flow, cseq; uint8_t step; } *entry; size_t head, tail, room; };
static struct queue queues[LEVELS], answer_queues[LEVELS];

static void wait_in(struct queue *q, uint32_t id, uint64_t delay) {
  if (q->tail == q->room) q->entry = realloc(q->entry, (q->room = q->room ? 2 * q->room : 4096) * sizeof *q->entry);
  q->entry[q->tail].due = now() + delay;
  q->entry[q->tail].flow = id;
  q->entry[q->tail].cseq = flows[id].cseq;
  q->entry[q->tail++].step = flows[id].step;
}

static uint64_t delay_of(int level) { return level < 3 ? T1 << level : 4 * SECOND; }

static void send_request(uint32_t id) {
  struct flow *f = &flows[id];
  put(f->side, f->message, f->length, address_of(f->side, f->user), proxy[f->side], id, false);
}

static void send_answer(uint32_t id) {
  struct flow *f = &flows[id];
  put(!f->side, f->answer, f->answer_length, f->answer_from, f->answer_to, id, true);
}

static void end(uint32_t id, bool ok, uint64_t time) {
  struct flow *f = &flows[id];
  if (f->step == ENDED) return;
  if (ok && time <= in_time_until) count.in_time++;
  if (f->bad) ok = false;
  else if (ok) count.ok++;
  else count.failed++;
  f->step = ENDED;
  free(f->message), free(f->to), free(f->target), free(f->route), free(f->answer);
  f->message = f->to = f->target = f->route = f->answer = NULL;
}

static void repeat_what_is_due(void) {
  uint64_t time = now();
  for (int level = 0; level < LEVELS; level++) {
    for (struct queue *q = &queues[level]; q->head < q->tail && q->entry[q->head].due <= time; q->head++) {
      uint32_t id = q->entry[q->head].flow;
      struct flow *f = &flows[id];
      if (f->step != q->entry[q->head].step || f->cseq != q->entry[q->head].cseq || f->proceeding) continue;
      if (level + 1 == LEVELS) { end(id, false, time); continue; }
      if (!f->bad) count.repeated++;
      send_request(id);
      wait_in(&queues[level + 1], id, delay_of(level + 1));
    }
    for (struct queue *q = &answer_queues[level]; q->head < q->tail && q->entry[q->head].due <= time; q->head++) {
      uint32_t id = q->entry[q->head].flow;
      if (flows[id].acked || !flows[id].answer || level + 1 == LEVELS) continue;
      count.repeated++;
      send_answer(id);
      wait_in(&answer_queues[level + 1], id, delay_of(level + 1));
    }
    if (queues[level].head == queues[level].tail) queues[level].head = queues[level].tail = 0;
    if (answer_queues[level].head == answer_queues[level].tail) answer_queues[level].head = answer_queues[level].tail = 0;
  }
}

/* ---- writing requests ---- */

static const char *PHONE_LINES =
    "User-Agent: sipbench/1.0 (test phone)\r\n"
    "Allow: INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, OPTIONS, UPDATE, PRACK, MESSAGE, SUBSCRIBE, INFO\r\n"
    "Supported: replaces, path, timer\r\n";
static const char *DESCRIPTION =
    "v=0\r\no=- 3747 3747 IN IP4 %s\r\ns=call\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %u RTP/AVP 0 8 9 101\r\n"
    "a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:9 G722/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
    "a=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n";

__attribute__((format(printf, 3, 4))) static int add(char *out, int at, const char *format, ...) {
  va_list a;
  va_start(a, format);
  int n = vsnprintf(out + at, ROOM - at, format, a);
  va_end(a);
  if (n < 0 || at + n >= ROOM) { fprintf(stderr, "a message is too long\n"); exit(1); }
  return at + n;
}

static const char *method_of(enum step s) {
  return s == REGISTER ? "REGISTER" : s == INVITE ? "INVITE" : s == ACK ? "ACK" : s == INFO ? "INFO" : "BYE";
}

static void write_target(char *out, uint32_t id, enum step step, struct flow *dialog) {
  struct flow *f = &flows[id];
  if (step == REGISTER) snprintf(out, 512, "sip:%s", provider);
  else if (dialog->target) snprintf(out, 512, "%s", dialog->target);
  else if (f->bad == 1) snprintf(out, 512, "sip:nobody@d%u-%u.blackhole.test", run_id, id);
  else if (f->bad) snprintf(out, 512, "sip:nobody@%s;transport=tcp", silent);
  else if (f->side == PROVIDER && contact[f->user]) snprintf(out, 512, "%s", contact[f->user]);
  else snprintf(out, 512, "sip:ext%u@%s", f->user, provider);
}

static int write_request(char *out, uint32_t id, enum step step) {
  struct flow *f = &flows[id], *dialog = &flows[f->call];
  char own[32], target[512], body[700] = "";
  const char *who = f->side == PHONE ? "user" : "ext";
  snprintf(own, sizeof own, "%s", inet_ntoa(address_of(f->side, f->user)));
  write_target(target, id, step, dialog);
  if (step == INVITE) snprintf(body, sizeof body, DESCRIPTION, own, own, 10000 + 2 * (id % 20000));
  int n = add(out, 0, "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s:%d;branch=z9hG4bKsb-%x-%u-%c;rport\r\n%s", method_of(step),
              target, own, PORT, run_id, id, step, dialog->route ? dialog->route : "");
  n = add(out, n, "Max-Forwards: 70\r\nFrom: <sip:%s%u@%s>;tag=f%u\r\n", who, f->user, provider, f->call);
  if (dialog->to) n = add(out, n, "%s", dialog->to);
  else n = add(out, n, "To: <sip:%s%u@%s>\r\n", step == REGISTER || f->side == PROVIDER ? "user" : "ext", f->user, provider);
  if (step == REGISTER) n = add(out, n, "Call-ID: %x-user%u-register\r\n", run_id, f->user);
  else n = add(out, n, "Call-ID: %x-%u-bench\r\n", run_id, f->call);
  n = add(out, n, "CSeq: %u %s\r\n", f->cseq, method_of(step));
  if (step != ACK) n = add(out, n, "Contact: <sip:%s%u@%s:%d>\r\n%s", who, f->user, own, PORT, PHONE_LINES);
  if (step == REGISTER) n = add(out, n, "Expires: 3600\r\n");
  if (*body) n = add(out, n, "Content-Type: application/sdp\r\n");
  return add(out, n, "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
}

static void send_step(uint32_t id, enum step step) {
  char text[ROOM];
  struct flow *f = &flows[id];
  f->step = step;
  f->proceeding = f->arrived = 0;
  f->sent = f->answered = 0;
  f->length = write_request(text, id, step);
  free(f->message);
  f->message = memcpy(malloc(f->length), text, f->length);
  if (!f->bad) count.sent++;
  send_request(id);
  wait_in(&queues[0], id, T1);
}

static void send_ack(uint32_t id) {
  char text[ROOM];
  struct flow *f = &flows[id];
  int n = write_request(text, id, ACK);
  if (!f->bad) count.sent++;
  put(f->side, text, n, address_of(f->side, f->user), proxy[f->side], NOBODY, false);
}

static uint32_t new_flow(uint32_t user, int side) {
  if (n_flows == room_flows) flows = realloc(flows, (room_flows = room_flows ? 2 * room_flows : 8192) * sizeof *flows);
  flows[n_flows] = (struct flow){.user = user, .side = side, .call = n_flows, .cseq = 1, .began = now()};
  return n_flows++;
}

/* ---- reading ---- */

static char *header(const char *message, const char *name, char *out, int room) {  /* every line of that name, as it is */
  size_t length = strlen(name);
  int n = 0;
  for (const char *p = strstr(message, "\r\n"); p && p[2] && p[2] != '\r'; p = strstr(p, "\r\n")) {
    p += 2;
    const char *stop = strstr(p, "\r\n");
    if (!stop) break;
    if (strncasecmp(p, name, length) || p[length] != ':' || n + (stop + 2 - p) >= room) continue;
    memcpy(out + n, p, stop + 2 - p);
    n += stop + 2 - p;
  }
  out[n] = 0;
  return n ? out : NULL;
}

static char *inside_brackets(char *line) {
  char *a = line ? strchr(line, '<') : NULL, *b = a ? strchr(a, '>') : NULL;
  if (!b) return NULL;
  return strndup(a + 1, b - a - 1);
}

static char *route_set(char *record_route) {  /* RFC 3261 section 12.1.2: in reverse order */
  char *uri[16], out[ROOM];
  int n = 0, at = 0;
  for (char *p = record_route; n < 16 && (p = strchr(p, '<')); p = strchr(p, '>')) uri[n++] = p;
  while (n--) at = add(out, at, "Route: %.*s\r\n", (int)(strchr(uri[n], '>') + 1 - uri[n]), uri[n]);
  return strdup(out);
}

static bool find(const char *message, uint32_t *id, enum step *step) {
  const char *p = strstr(message, "branch=z9hG4bKsb-");
  unsigned run, flow;
  char c;
  if (!p || sscanf(p + 17, "%x-%u-%c", &run, &flow, &c) != 3 || run != run_id || flow >= n_flows) return false;
  *id = flow, *step = (enum step)c;
  return true;
}

static int write_answer(char *out, const char *m, const char *status, uint32_t id, enum step step, struct in_addr at) {
  struct flow *f = &flows[id];
  char lines[ROOM], body[700] = "", own[32];
  static const char *copied[] = {"Via", "Record-Route", "From", "Call-ID", "CSeq"};
  snprintf(own, sizeof own, "%s", inet_ntoa(at));
  int n = add(out, 0, "SIP/2.0 %s\r\n", status);
  for (int i = 0; i < 5; i++)
    if (header(m, copied[i], lines, sizeof lines)) n = add(out, n, "%s", lines);
  if (header(m, "To", lines, sizeof lines)) {
    bool tagged = strstr(lines, "tag=");
    n = add(out, n, "%.*s%s", (int)strlen(lines) - 2, lines, tagged ? "\r\n" : "");
    if (!tagged) n = add(out, n, ";tag=t%u\r\n", id);
  }
  if (step == REGISTER && header(m, "Contact", lines, sizeof lines))
    n = add(out, n, "%.*s;expires=3600\r\n", (int)strlen(lines) - 2, lines);
  if (step != REGISTER) n = add(out, n, "Contact: <sip:%s%u@%s:%d>\r\n%s", f->side ? "user" : "ext", f->user, own, PORT, PHONE_LINES);
  if (step == INVITE && *status == '2') {
    snprintf(body, sizeof body, DESCRIPTION, own, own, 10000 + 2 * (id % 20000));
    n = add(out, n, "Content-Type: application/sdp\r\n");
  }
  return add(out, n, "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
}

static void on_request(int side, const char *m, struct sockaddr_in from, struct in_addr at, uint64_t time) {
  uint32_t id;
  enum step step;
  char out[ROOM], line[ROOM];
  if (!find(m, &id, &step)) return;
  struct flow *f = &flows[id];
  if (side == f->side || f->step == ENDED) return;
  if (step == ACK) {
    f->acked = 1;
    free(f->answer), f->answer = NULL;
    return;
  }
  if (f->step != step || f->arrived) {  /* repeated by the proxy, or by us */
    count.duplicates++;
    if (step == INVITE) { if (f->answer) send_answer(id); return; }
  } else {
    note(&request_delay, f->sent, time);
    f->arrived = 1;
  }
  if (step == REGISTER && header(m, "Contact", line, sizeof line)) free(contact[f->user]), contact[f->user] = inside_brackets(line);
  if (step == INVITE) {
    int n = write_answer(out, m, "180 Ringing", id, step, at);
    put(side, out, n, at, from, NOBODY, false);
    count.sent++;
  }
  int n = write_answer(out, m, "200 OK", id, step, at);
  count.sent++;
  put(side, out, n, at, from, id, true);
  if (step != INVITE) return;
  f->answer = memcpy(malloc(n), out, n);
  f->answer_length = n, f->answer_to = from, f->answer_from = at;
  wait_in(&answer_queues[0], id, T1);
}

static void refused(uint32_t id, const char *m, enum step step, int status, uint64_t time) {
  struct flow *f = &flows[id];
  char line[ROOM];
  if (f->bad) count.bad_refused++;
  else count.rejected++, count.last_status = status;
  if (step == INVITE && header(m, "To", line, sizeof line)) {  /* its ACK is part of the transaction: the same branch */
    f->to = strdup(line);
    char text[ROOM], *p;
    int n = write_request(text, id, ACK);
    if ((p = strstr(text, "-a;rport"))) p[1] = INVITE;
    put(f->side, text, n, address_of(f->side, f->user), proxy[f->side], NOBODY, false);
  }
  end(id, false, time);
}

static void on_response(const char *m, uint64_t time) {
  uint32_t id;
  enum step step;
  char line[ROOM];
  int status = atoi(m + 8);
  if (!find(m, &id, &step)) return;
  struct flow *f = &flows[id];
  if (f->step != step) {  /* a 2xx again: its ACK was lost */
    if (step == INVITE && status / 100 == 2 && f->step != ENDED) send_ack(id);
    return;
  }
  if (status < 200) { if (step == INVITE) f->proceeding = 1; return; }
  if (status >= 300) { refused(id, m, step, status, time); return; }
  note(&response_delay, f->answered, time);
  note(&round_trip, f->sent, time);
  if (step != INVITE) {
    if (step == BYE) note(&whole_call, f->began, time);
    end(id, true, time);
    return;
  }
  note(&setup, f->sent, time);
  if (header(m, "To", line, sizeof line)) f->to = strdup(line);
  if (header(m, "Contact", line, sizeof line)) f->target = inside_brackets(line);
  if (header(m, "Record-Route", line, sizeof line)) f->route = route_set(line);
  send_ack(id);
  f->step = UP;
  if (f->keep) { calls[n_calls++] = id; count.ok++; return; }
  f->cseq++;
  send_step(id, BYE);
}

static void receive(int side) {
  static char data[BATCH][65536], control[BATCH][256];
  static struct mmsghdr headers[BATCH];
  static struct iovec part[BATCH];
  static struct sockaddr_in from[BATCH];
  for (int i = 0; i < BATCH; i++) {
    part[i] = (struct iovec){data[i], sizeof data[i] - 1};
    headers[i].msg_hdr = (struct msghdr){&from[i], sizeof from[i], &part[i], 1, control[i], sizeof control[i], 0};
  }
  int n = recvmmsg(sockets[side], headers, BATCH, MSG_DONTWAIT, NULL);
  for (int i = 0; i < n; i++) {
    uint64_t time = 0;
    struct in_addr at = {0};
    struct msghdr *h = &headers[i].msg_hdr;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
      if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS) {
        struct timespec *t = (struct timespec *)CMSG_DATA(c);
        time = t->tv_sec * SECOND + t->tv_nsec;
      }
      if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) at = ((struct in_pktinfo *)CMSG_DATA(c))->ipi_addr;
    }
    char *m = data[i];
    m[headers[i].msg_len] = 0;
    count.received++;
    if (!time) time = now();
    if (!strncmp(m, "SIP/2.0 ", 8)) on_response(m, time);
    else on_request(side, m, from[i], at, time);
  }
}

static void turn(void) {
  for (int side = 0; side < 2; side++) receive(side);
  repeat_what_is_due();
  for (int side = 0; side < 2; side++)
    if (n_outgoing[side]) flush_side(side);
}

/* ---- commands ---- */

static void begin_run(void) {
  memset(&count, 0, sizeof count);
  request_delay.n = response_delay.n = round_trip.n = setup.n = whole_call.n = 0;
  first_of_run = n_flows;
  in_time_until = UINT64_MAX;
}

static uint64_t open_now(void) { return count.started - count.ok - count.failed; }

static void end_run(uint64_t began, uint64_t time) {
  for (uint32_t id = first_of_run; id < n_flows; id++)
    if (flows[id].step != ENDED && !(flows[id].keep && flows[id].step == UP)) end(id, false, time);
  printf("{\"seconds\":%.3f,\"started\":%lu,\"ok\":%lu,\"in_time\":%lu,\"failed\":%lu,\"rejected\":%lu,\"last_status\":%d",
         (time - began) / 1e9, count.started, count.ok, count.in_time, count.failed, count.rejected, count.last_status);
  printf(",\"sent\":%lu,\"received\":%lu,\"repeated\":%lu,\"duplicates\":%lu,\"bad\":%lu,\"bad_refused\":%lu", count.sent,
         count.received, count.repeated, count.duplicates, count.bad, count.bad_refused);
  print_delays("request", &request_delay), print_delays("response", &response_delay);
  print_delays("round_trip", &round_trip), print_delays("setup", &setup), print_delays("whole_call", &whole_call);
  printf("}\n");
  fflush(stdout);
}

static void start_register(uint32_t user) {
  uint32_t id = new_flow(user, PHONE);
  flows[id].cseq = ++register_cseq[user];
  count.started++;
  send_step(id, REGISTER);
}

static void start_call(uint32_t user, int side, bool keep) {
  uint32_t id = new_flow(user, side);
  flows[id].keep = keep;
  count.started++;
  send_step(id, INVITE);
}

static void start_info(uint32_t which) {
  uint32_t call = calls[which % n_calls], id = new_flow(flows[call].user, flows[call].side);
  flows[id].call = call;
  flows[id].cseq = ++flows[call].cseq;
  count.started++;
  send_step(id, INFO);
}

static void start_bad(uint32_t which) {
  uint32_t id = new_flow(which % n_users, PHONE);
  flows[id].bad = 1 + which % 2;
  count.bad++;
  send_step(id, INVITE);
}

static void start(enum step kind, uint32_t which) {
  if (kind == REGISTER) start_register(which % n_users);
  else if (kind == INFO) start_info(which);
  else start_call(which % n_users, which & 1, false);
}

static void grow_users(uint32_t users) {
  if (users <= room_users) return;
  contact = realloc(contact, users * sizeof *contact);
  register_cseq = realloc(register_cseq, users * sizeof *register_cseq);
  for (uint32_t u = room_users; u < users; u++) contact[u] = NULL, register_cseq[u] = 0;
  room_users = users;
}

static void closed_loop(uint32_t from, uint32_t to, uint32_t window, void (*one)(uint32_t)) {
  uint64_t began = now();
  begin_run();
  while (from < to || open_now()) {
    for (int i = 0; i < 8 && from < to && open_now() < window; i++) one(from++);
    turn();
  }
  end_run(began, now());
}

static void dial_one(uint32_t which) { start_call(which % n_users, which & 1, true); }

static void hang_up_one(uint32_t which) {
  count.started++;
  flows[calls[which]].cseq++;
  send_step(calls[which], BYE);
}

static void open_loop(enum step kind, double rate, double seconds, double bad, double drain) {
  static uint32_t which;      /* goes on from run to run, so that all users have their turn */
  begin_run();
  measuring = true;
  uint64_t began = now(), until = began + seconds * 1e9, time, n = 0, n_bad = 0;
  in_time_until = until + SECOND / 20;
  while ((time = now()) < until) {
    double passed = (time - began) / 1e9;
    for (int i = 0; i < 8 && n <= passed * rate; i++, n++) start(kind, which++);
    if (bad > 0 && n_bad <= passed * bad) start_bad(n_bad++);
    turn();
  }
  for (until = time + drain * 1e9; open_now() && now() < until;) turn();
  measuring = false;
  end_run(began, now());
}

static void obey(char *line) {
  char kind[16];
  uint32_t a, b;
  double rate, seconds, bad, drain;
  if (sscanf(line, "fill %u %u", &a, &b) == 2) {
    grow_users(a);
    uint32_t from = n_users;
    closed_loop(from, n_users = a, b, start_register);
  } else if (sscanf(line, "dial %u %u", &a, &b) == 2) {
    calls = realloc(calls, (n_calls + a) * sizeof *calls);
    closed_loop(n_calls, n_calls + a, b, dial_one);
  } else if (sscanf(line, "hangup %u", &b) == 1) {
    closed_loop(0, n_calls, b, hang_up_one);
    n_calls = 0;
  } else if (sscanf(line, "run %15s %lf %lf %lf %lf", kind, &rate, &seconds, &bad, &drain) == 5) {
    enum step step = *kind == 'r' ? REGISTER : *kind == 'i' ? INFO : INVITE;
    if (!n_users || (step == INFO && !n_calls)) { printf("{\"error\":\"fill or dial first\"}\n"); fflush(stdout); return; }
    open_loop(step, rate, seconds, bad, drain);
  } else {
    printf("{\"error\":\"unknown command\"}\n");
    fflush(stdout);
  }
}

static int open_socket(const char *namespace, const char *address) {
  int handle = open(namespace, O_RDONLY), one = 1, much = 16 << 20;
  if (handle < 0 || setns(handle, CLONE_NEWNET)) die(namespace);
  close(handle);
  int s = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr = {inet_addr(address)}};
  setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &much, sizeof much);
  setsockopt(s, SOL_SOCKET, SO_SNDBUFFORCE, &much, sizeof much);
  setsockopt(s, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one);
  setsockopt(s, IPPROTO_IP, IP_PKTINFO, &one, sizeof one);
  if (s < 0 || bind(s, (struct sockaddr *)&at, sizeof at)) die("bind");
  return s;
}

static struct sockaddr_in sip_port_of(const char *address) {
  return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr = {inet_addr(address)}};
}

int main(int argc, char **argv) {
  if (argc != 10) { fprintf(stderr, "usage: see the first lines of sipbench.c\n"); return 2; }
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(atoi(argv[1]), &cpus);
  sched_setaffinity(0, sizeof cpus, &cpus);
  sockets[PHONE] = open_socket(argv[2], "0.0.0.0");
  sockets[PROVIDER] = open_socket(argv[3], argv[6]);
  proxy[PHONE] = sip_port_of(argv[4]);
  proxy[PROVIDER] = sip_port_of(argv[5]);
  snprintf(provider, sizeof provider, "%s", argv[6]);
  first_phone = ntohl(inet_addr(argv[7]));
  n_phones = atoi(argv[8]);
  snprintf(silent, sizeof silent, "%s", argv[9]);
  run_id = getpid();
  char line[256];
  struct pollfd waiting[] = {{0, POLLIN, 0}, {sockets[0], POLLIN, 0}, {sockets[1], POLLIN, 0}};
  while (poll(waiting, 3, 20) >= 0) {  /* late messages are answered between two commands too */
    turn();
    if (!(waiting[0].revents & (POLLIN | POLLHUP))) continue;
    int n = read(0, line, sizeof line - 1);
    if (n <= 0) return 0;
    line[n] = 0;
    obey(line);
  }
  return 0;
}
