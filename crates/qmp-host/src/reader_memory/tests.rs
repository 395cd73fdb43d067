use super::*;

#[tokio::test(start_paused = true)]
async fn reader_waits_for_memory_until_it_is_freed_or_time_is_up() {
    let memory = ReaderMemory::new(80);
    let first = memory.take(60).await.expect("there is room");
    let began = Instant::now();
    let refused = memory.take(20).await.expect_err("an eighth is kept");
    assert_eq!((refused, began.elapsed()), (MemoryShort { limit_bytes: 80 }, READER_WAIT_MAX));
    let urgent = memory.try_take(20).expect("what cannot wait may have that");
    assert!(memory.try_take(1).is_err());
    drop(urgent);
    let waiting = memory.take(70);
    let (taken, ()) = tokio::join!(waiting, async { drop(first) });
    assert_eq!(taken.map(|_taken| memory.used()), Ok(70));
    assert!(memory.take(71).await.is_err(), "never so much");
    assert_eq!(began.elapsed(), READER_WAIT_MAX, "and it is not waited for");
}

#[tokio::test(start_paused = true)]
async fn readers_get_memory_in_the_order_of_asking() {
    let memory = ReaderMemory::new(80);
    let first = memory.take(70).await.expect("there is room");
    let order = Mutex::new(Vec::new());
    let ask = async |bytes| {
        let portion = memory.take(bytes).await.expect("in the end");
        order.lock().expect("not poisoned").push(bytes);
        drop(portion);
    };
    tokio::join!(ask(60), ask(1), async {
        tokio::task::yield_now().await;
        drop(first);
    });
    assert_eq!(*order.lock().expect("not poisoned"), [60, 1]);
}

#[tokio::test(start_paused = true)]
async fn client_that_does_not_read_is_evicted_when_others_wait() {
    let memory = ReaderMemory::new(80);
    let (stalled, idle) = (memory.recipient(), memory.recipient());
    let text = memory.take(70).await.expect("there is room").of(vec![b'x'; 70]);
    let lent = stalled.lend(text);
    tokio::time::sleep(10 * READER_STALL_MAX).await;
    assert!(!stalled.is_evicted(), "there is enough memory");
    let close = async {
        stalled.evicted().await;
        drop(lent);
    };
    let (taken, ()) = tokio::join!(memory.take(10), close);
    assert!(taken.is_ok() && !idle.is_evicted());
}

#[tokio::test(start_paused = true)]
async fn client_that_reads_slowly_is_not_evicted() {
    let memory = ReaderMemory::new(80);
    let slow = memory.recipient();
    let _text = memory.take(70).await.expect("there is room");
    let read = async {
        for _ in 0..4 {
            let lent = slow.lend([0; 1]);
            tokio::time::sleep(READER_STALL_MAX - Duration::from_secs(1)).await;
            drop(lent);
        }
    };
    let (refused, ()) = tokio::join!(memory.take(10), read);
    assert!(refused.is_err() && !slow.is_evicted());
}

#[tokio::test]
async fn text_is_made_once_and_forgotten_with_its_last_reader() {
    let (memory, texts) = (ReaderMemory::new(80), Texts::<u32>::default());
    let make = async || Ok::<_, MemoryShort>(Some(memory.take(10).await?.of(b"text".to_vec())));
    let one = texts.get(1, make).await.expect("made").expect("wanted");
    let other = texts.get(1, async || Ok::<_, MemoryShort>(None)).await.expect("found").expect("wanted");
    assert_eq!((one.as_ref(), other.as_ref(), memory.used()), (&b"text"[..], &b"text"[..], 4));
    drop((one, other));
    assert_eq!(memory.used(), 0);
    assert!(texts.get(1, async || Ok::<_, MemoryShort>(None)).await.expect("made").is_none());
}
