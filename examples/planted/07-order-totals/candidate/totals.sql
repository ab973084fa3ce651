SELECT i.order_id, SUM(i.cents), MAX(p.cents)
FROM items AS i
JOIN payments AS p ON p.order_id = i.order_id
GROUP BY i.order_id
ORDER BY i.order_id;
